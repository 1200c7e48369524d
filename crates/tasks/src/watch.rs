//! The heartbeat: learns of cancellations and lost leases for all attempts of a runner at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use berth_metadata::DbError;
use berth_metadata::tables::task;

use crate::CANCEL_CHANNEL;
use crate::attempt::Attempt;
use crate::handle::StopReason;
use crate::runner::Shared;

/// The attempts that run here, by task id and attempt.
#[derive(Default)]
pub(crate) struct Running(Mutex<HashMap<(String, i64), Arc<Attempt>>>);

impl Running {
    fn attempts(&self) -> MutexGuard<'_, HashMap<(String, i64), Arc<Attempt>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the attempt listed until the guard is dropped.
    pub(crate) fn register<'a>(&'a self, attempt: &Arc<Attempt>) -> Registered<'a> {
        let key = (attempt.row.task_id.clone(), attempt.row.attempt);
        self.attempts().insert(key.clone(), Arc::clone(attempt));
        Registered { running: self, key }
    }

    pub(crate) fn all(&self) -> Vec<Arc<Attempt>> {
        self.attempts().values().cloned().collect()
    }
}

pub(crate) struct Registered<'a> {
    running: &'a Running,
    key: (String, i64),
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.running.attempts().remove(&self.key);
    }
}

/// Looks every heartbeat, and at once when a cancellation is notified. Never returns.
pub(crate) async fn watch(shared: &Shared) {
    loop {
        shared.db.wait_notified(CANCEL_CHANNEL, shared.config.heartbeat).await;
        if let Err(error) = look(shared).await {
            tracing::warn!(%error, "heartbeat failed");
        }
    }
}

async fn look(shared: &Shared) -> Result<(), DbError> {
    // Listed before reading: whatever is listed was claimed before the read began.
    let running = shared.running.all();
    if running.is_empty() {
        return Ok(());
    }
    let mut session = shared.db.read().await?;
    let held = task::held(&mut session, shared.config.queue, &shared.owner).await?;
    drop(session);
    for attempt in running {
        let mine = held.iter().find(|held| {
            held.task_id == attempt.row.task_id && held.attempt == attempt.row.attempt
        });
        match mine {
            Some(held) if held.cancel_requested => attempt.stop(StopReason::CancelRequested),
            Some(_) => {}
            None if attempt.has_ended() => {}
            None => attempt.stop(StopReason::LeaseLost),
        }
    }
    Ok(())
}
