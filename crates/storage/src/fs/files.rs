//! Files that are kept open between reads, the longest unused of them closed first.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many files are kept open.
const CAPACITY: usize = 256;

/// An object's open file, with what it was when it was opened.
pub(super) struct Opened {
    pub(super) key: Arc<str>,
    pub(super) file: Arc<File>,
    pub(super) mark: Mark,
    pub(super) stamp: String,
}

/// By what a look at the open file sees that somebody wrote to it.
#[derive(PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) size: u64,
    pub(super) seconds: i64,
    pub(super) nanoseconds: i64,
}

#[derive(Default)]
pub(super) struct Files(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    files: HashMap<Arc<str>, (Arc<Opened>, u64)>,
    /// Counts the uses.
    now: u64,
}

impl Files {
    pub(super) fn get(&self, key: &str) -> Option<Arc<Opened>> {
        let mut inner = self.inner();
        inner.now += 1;
        let now = inner.now;
        let (opened, used) = inner.files.get_mut(key)?;
        *used = now;
        Some(Arc::clone(opened))
    }

    pub(super) fn insert(&self, opened: &Arc<Opened>) {
        let mut inner = self.inner();
        inner.now += 1;
        let now = inner.now;
        if inner.files.len() >= CAPACITY && !inner.files.contains_key(&opened.key) {
            let oldest = inner.files.values().min_by_key(|(_, used)| *used);
            if let Some(key) = oldest.map(|(opened, _)| Arc::clone(&opened.key)) {
                inner.files.remove(&key);
            }
        }
        inner.files.insert(Arc::clone(&opened.key), (Arc::clone(opened), now));
    }

    /// Forgets a file, so that its bytes go when it is removed.
    pub(super) fn remove(&self, key: &str) {
        self.inner().files.remove(key);
    }

    /// Forgets the files that `keep` refuses.
    pub(super) fn retain(&self, keep: impl Fn(&File) -> bool) {
        self.inner().files.retain(|_, (opened, _)| keep(&opened.file));
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(key: &str) -> Arc<Opened> {
        Arc::new(Opened {
            key: key.into(),
            file: Arc::new(tempfile::tempfile().expect("a file")),
            mark: Mark { size: 0, seconds: 0, nanoseconds: 0 },
            stamp: String::new(),
        })
    }

    #[test]
    fn the_longest_unused_is_closed() {
        let files = Files::default();
        for number in 0..CAPACITY {
            files.insert(&opened(&number.to_string()));
        }
        assert!(files.get("0").is_some());
        files.insert(&opened("one more"));
        assert!(files.get("1").is_none());
        assert!(files.get("0").is_some() && files.get("one more").is_some());
        files.remove("0");
        assert!(files.get("0").is_none());
        files.retain(|_| false);
        assert!(files.get("2").is_none());
    }
}
