//! What requests ask for again and again, remembered in bounded memory.
//!
//! Where this process is the database's only writer, everything here is what a query would say, also
//! that something is not there. Elsewhere only two things are taken from here: the bytes of a
//! manifest, once a query has said which digest they have and that the repository has it, and for a
//! few seconds which instance a host names.

use std::sync::Arc;
use std::time::Duration;

use berth_metadata::tables::repository::Repository;
use berth_metadata::{Db, Memory, Stamp, Subject};
use berth_types::{Digest, Millis, RepoName, Tag};

use crate::{Blob, Instance, StoredManifest};

/// An instance that another server makes is found by its host after at most this time.
const INSTANCES_STALE: Duration = Duration::from_secs(5);

/// A manifest with the time of its next review.
#[derive(Debug, Clone)]
pub(crate) struct HeldManifest {
    pub(crate) manifest: Arc<StoredManifest>,
    pub(crate) review_after: Option<Millis>,
}

#[derive(Clone)]
enum Row {
    Instance(Arc<Instance>),
    Repository(Option<Arc<Repository>>),
    Tag(Option<Digest>),
    /// All of a repository; `None`: too many.
    Tags(Option<Arc<[Tag]>>),
    Manifest(Option<HeldManifest>),
    Link(Option<Arc<Blob>>),
    Content(Arc<StoredManifest>),
}

/// Remembers rows by what they are asked by. Every `…_stamp` is taken before the row is read.
pub(crate) struct Cache {
    db: Db,
    rows: Memory<Row>,
}

/// A key: what kind of row, whose, which.
fn key(kind: char, owner: &str, name: &str) -> String {
    let mut key = String::with_capacity(owner.len() + name.len() + 2);
    key.push(kind);
    key.push_str(owner);
    key.push('\n');
    key.push_str(name);
    key
}

impl Cache {
    pub(crate) fn new(db: Db, bytes: usize) -> Self {
        let rows = Memory::new(db.clone(), bytes, INSTANCES_STALE);
        Self { db, rows }
    }

    /// Whether rows can be taken from here without a query.
    pub(crate) fn is_authoritative(&self) -> bool {
        self.db.is_sole_writer()
    }

    pub(crate) fn stamp(&self, subject: Subject<'_>) -> Stamp {
        self.rows.stamp(subject)
    }

    pub(crate) fn instance(&self, name: &str) -> Option<Arc<Instance>> {
        match self.rows.get(&key('i', "", name), self.stamp(Subject::Instances))? {
            Row::Instance(instance) => Some(instance),
            _ => None,
        }
    }

    pub(crate) fn instance_of_id(&self, id: &str) -> Option<Arc<Instance>> {
        match self.get(&key('d', "", id), self.stamp(Subject::Instances))? {
            Row::Instance(instance) => Some(instance),
            _ => None,
        }
    }

    pub(crate) fn put_instance_of_id(&self, stamp: Stamp, instance: &Arc<Instance>) {
        let bytes = size_of::<Instance>() + 8 * 32;
        let key = key('d', "", &instance.instance_id);
        self.put(&key, stamp, Row::Instance(Arc::clone(instance)), bytes);
    }

    pub(crate) fn put_instance(&self, name: &str, stamp: Stamp, instance: &Arc<Instance>) {
        let bytes = size_of::<Instance>() + 8 * 32;
        self.rows.put(&key('i', "", name), stamp, Row::Instance(Arc::clone(instance)), bytes);
    }

    pub(crate) fn repository(
        &self,
        instance_id: &str,
        name: &RepoName,
    ) -> Option<Option<Arc<Repository>>> {
        let stamp = self.stamp(Subject::RepositoryName);
        match self.get(&key('r', instance_id, name.as_str()), stamp)? {
            Row::Repository(found) => Some(found),
            _ => None,
        }
    }

    pub(crate) fn put_repository(
        &self,
        instance_id: &str,
        name: &RepoName,
        stamp: Stamp,
        found: Option<&Arc<Repository>>,
    ) {
        let texts = found.map_or(0, |row| 256 + row.summary.len() + row.detail.len());
        let bytes = size_of::<Repository>() + texts;
        let key = key('r', instance_id, name.as_str());
        self.put(&key, stamp, Row::Repository(found.cloned()), bytes);
    }

    pub(crate) fn tag(&self, repo_id: &str, tag: &Tag) -> Option<Option<Digest>> {
        let stamp = self.stamp(Subject::Tag(repo_id, tag));
        match self.get(&key('t', repo_id, tag.as_str()), stamp)? {
            Row::Tag(found) => Some(found),
            _ => None,
        }
    }

    pub(crate) fn put_tag(&self, repo_id: &str, tag: &Tag, stamp: Stamp, found: Option<&Digest>) {
        let bytes = found.map_or(0, |digest| digest.as_str().len());
        self.put(&key('t', repo_id, tag.as_str()), stamp, Row::Tag(found.cloned()), bytes);
    }

    pub(crate) fn tags(&self, repo_id: &str) -> Option<Option<Arc<[Tag]>>> {
        match self.get(&key('n', repo_id, ""), self.stamp(Subject::Tags(repo_id)))? {
            Row::Tags(found) => Some(found),
            _ => None,
        }
    }

    pub(crate) fn put_tags(&self, repo_id: &str, stamp: Stamp, all: Option<&Arc<[Tag]>>) {
        let texts = |all: &Arc<[Tag]>| all.iter().map(|tag| tag.as_str().len() + 32).sum();
        let bytes = all.map_or(0, texts);
        self.put(&key('n', repo_id, ""), stamp, Row::Tags(all.cloned()), bytes);
    }

    pub(crate) fn manifest(&self, repo_id: &str, digest: &Digest) -> Option<Option<HeldManifest>> {
        let stamp = self.stamp(Subject::Manifest(repo_id, digest));
        match self.get(&key('m', repo_id, digest.as_str()), stamp)? {
            Row::Manifest(found) => Some(found),
            _ => None,
        }
    }

    pub(crate) fn put_manifest(
        &self,
        repo_id: &str,
        digest: &Digest,
        stamp: Stamp,
        found: Option<&HeldManifest>,
    ) {
        let bytes = found.map_or(0, |held| weight(&held.manifest));
        let key = key('m', repo_id, digest.as_str());
        self.put(&key, stamp, Row::Manifest(found.cloned()), bytes);
    }

    pub(crate) fn link(&self, repo_id: &str, digest: &Digest) -> Option<Option<Arc<Blob>>> {
        let stamp = self.stamp(Subject::Link(repo_id, digest));
        match self.get(&key('l', repo_id, digest.as_str()), stamp)? {
            Row::Link(found) => Some(found),
            _ => None,
        }
    }

    pub(crate) fn put_link(
        &self,
        repo_id: &str,
        digest: &Digest,
        stamp: Stamp,
        found: Option<&Arc<Blob>>,
    ) {
        let bytes = found.map_or(0, |_| size_of::<Blob>() + 256);
        self.put(&key('l', repo_id, digest.as_str()), stamp, Row::Link(found.cloned()), bytes);
    }

    /// The bytes of a manifest that a query has found in the repository just now, if they are
    /// remembered under the type that it has there.
    pub(crate) fn content(
        &self,
        repo_id: &str,
        digest: &Digest,
        media_type: &str,
    ) -> Option<Arc<StoredManifest>> {
        match self.rows.peek(&key('c', repo_id, digest.as_str()))? {
            Row::Content(manifest) if manifest.media_type == media_type => Some(manifest),
            _ => None,
        }
    }

    pub(crate) fn put_content(&self, repo_id: &str, manifest: &Arc<StoredManifest>) {
        let stamp = self.stamp(Subject::Manifest(repo_id, &manifest.digest));
        let key = key('c', repo_id, manifest.digest.as_str());
        self.rows.put(&key, stamp, Row::Content(Arc::clone(manifest)), weight(manifest));
    }

    fn get(&self, key: &str, stamp: Stamp) -> Option<Row> {
        if self.is_authoritative() { self.rows.get(key, stamp) } else { None }
    }

    fn put(&self, key: &str, stamp: Stamp, row: Row, bytes: usize) {
        if self.is_authoritative() {
            self.rows.put(key, stamp, row, bytes);
        }
    }
}

fn weight(manifest: &StoredManifest) -> usize {
    size_of::<StoredManifest>() + 256 + manifest.content.len()
}
