//! The counters by which whoever remembers rows learns that they changed.
//!
//! Every noun that is remembered somewhere has a counter. A change raises the counters of what it
//! touched after its COMMIT and before the commit returns; a remembered row is good as long as its
//! counters are those from before it was read. No row can therefore be remembered across a change,
//! however reading and committing overlap. Nouns share counters by hash: too much may be forgotten,
//! never too little.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use berth_types::{Digest, Tag};

/// What a remembered row depends on.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// Which instance a host names.
    Instances,
    AccessKey(&'a str),
    /// Which repository has a name, and its row.
    RepositoryName,
    /// Where a tag of a repository points.
    Tag(&'a str, &'a Tag),
    /// Which tags a repository has.
    Tags(&'a str),
    /// Whether a repository has a manifest, and its row.
    Manifest(&'a str, &'a Digest),
    /// Whether a repository may serve a blob, and the blob's row.
    Link(&'a str, &'a Digest),
    /// The row of a task, and what is stored beside it under the same id.
    Task(&'a str),
}

const COUNTERS: u64 = 8192;
/// The counters before those that are shared by hash.
pub(crate) const EVERYTHING: usize = 0;
pub(crate) const INSTANCES: usize = 1;
pub(crate) const REPOSITORIES: usize = 2;
pub(crate) const TASKS: usize = 3;
const FIRST_SHARED: u64 = 4;

/// Distinguishes the nouns under which one id is counted.
#[derive(Hash, Clone, Copy)]
pub(crate) enum Noun {
    AccessKey,
    Contents,
    Tag,
    Tags,
    Manifest,
    Link,
    Blob,
    Task,
}

pub(crate) fn counter(noun: Noun, owner: &str, name: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    noun.hash(&mut hasher);
    owner.hash(&mut hasher);
    name.hash(&mut hasher);
    let shared = hasher.finish() % (COUNTERS - FIRST_SHARED);
    usize::try_from(shared + FIRST_SHARED).unwrap_or(EVERYTHING)
}

/// The counters of a database.
#[derive(Clone)]
pub(crate) struct Epochs {
    counters: Arc<[AtomicU64]>,
    /// Transactions that wrote more than they announced.
    #[cfg(test)]
    unannounced: Arc<AtomicU64>,
}

impl Default for Epochs {
    fn default() -> Self {
        Self {
            counters: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(),
            #[cfg(test)]
            unannounced: Arc::default(),
        }
    }
}

/// The state of what a row depends on, taken before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(u64);

impl Epochs {
    /// Counters only grow, so that sums are equal only while every counter is.
    pub(crate) fn stamp(&self, subject: Subject<'_>) -> Stamp {
        let sum = |counters: &[usize]| {
            let value = |index: &usize| {
                self.counters.get(*index).map_or(0, |counter| counter.load(Ordering::SeqCst))
            };
            Stamp(counters.iter().map(value).fold(0, u64::wrapping_add))
        };
        match subject {
            Subject::Instances => sum(&[EVERYTHING, INSTANCES]),
            Subject::AccessKey(id) => sum(&[EVERYTHING, counter(Noun::AccessKey, "", id)]),
            Subject::RepositoryName => sum(&[EVERYTHING, REPOSITORIES]),
            Subject::Tag(repo_id, tag) => sum(&[
                EVERYTHING,
                counter(Noun::Contents, repo_id, ""),
                counter(Noun::Tag, repo_id, tag.as_str()),
            ]),
            Subject::Tags(repo_id) => sum(&[
                EVERYTHING,
                counter(Noun::Contents, repo_id, ""),
                counter(Noun::Tags, repo_id, ""),
            ]),
            Subject::Manifest(repo_id, digest) => sum(&[
                EVERYTHING,
                counter(Noun::Contents, repo_id, ""),
                counter(Noun::Manifest, repo_id, digest.as_str()),
            ]),
            Subject::Link(repo_id, digest) => sum(&[
                EVERYTHING,
                counter(Noun::Contents, repo_id, ""),
                counter(Noun::Link, repo_id, digest.as_str()),
                counter(Noun::Blob, "", digest.as_str()),
            ]),
            Subject::Task(id) => sum(&[EVERYTHING, TASKS, counter(Noun::Task, "", id)]),
        }
    }

    #[cfg(test)]
    pub(crate) fn unannounced(&self) -> u64 {
        self.unannounced.load(Ordering::SeqCst)
    }

    #[cfg(test)]
    pub(crate) fn note_unannounced(&self) {
        self.unannounced.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn raise(&self, counters: &[usize]) {
        for counter in counters {
            if let Some(counter) = self.counters.get(*counter) {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}
