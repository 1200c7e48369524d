//! One writer at a time per upload within this process.
//!
//! Between processes the store keeps two writers of one partial object apart, and the offset that a
//! row update expects catches the second.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Locks by upload id; they vanish with their last holder.
#[derive(Default)]
pub(crate) struct Locks(Mutex<HashMap<String, Weak<AsyncMutex<()>>>>);

impl Locks {
    fn table(&self) -> MutexGuard<'_, HashMap<String, Weak<AsyncMutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the lock; `None` when somebody else kept it for that long.
    pub(crate) async fn take(&self, id: &str, at_most: Duration) -> Option<OwnedMutexGuard<()>> {
        let lock = {
            let mut table = self.table();
            match table.get(id).and_then(Weak::upgrade) {
                Some(lock) => lock,
                None => {
                    table.retain(|_, lock| lock.strong_count() > 0);
                    let lock = Arc::default();
                    table.insert(id.to_owned(), Arc::downgrade(&lock));
                    lock
                }
            }
        };
        tokio::time::timeout(at_most, lock.lock_owned()).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn excludes_and_forgets() {
        let locks = Locks::default();
        let wait = Duration::from_millis(20);
        let held = locks.take("a", wait).await;
        assert!(held.is_some());
        assert!(locks.take("a", wait).await.is_none());
        assert!(locks.take("b", wait).await.is_some());
        drop(held);
        assert!(locks.take("a", wait).await.is_some());
        drop(locks.take("c", wait).await);
        assert!(locks.table().len() <= 2);
    }
}
