//! One attempt from its claim to its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::attempt::Attempt;
use crate::end::conclude;
use crate::handle::{StopReason, TaskHandle};
use crate::runner::Shared;
use crate::slots::Slot;
use crate::{Handler, TaskFailure, TaskRow};

/// Runs a claimed task. Dropping the future aborts its handler at the next await.
pub(crate) async fn supervise(shared: Arc<Shared>, row: TaskRow, slot: Arc<Slot>) {
    let handler = shared.handlers.get(row.kind.as_str()).cloned();
    let lease = shared.config.lease;
    let attempt = Attempt::new(shared.db.clone(), Arc::clone(&shared.clock), row, lease);
    let attempt = Arc::new(attempt);
    let _registered = shared.running.register(&attempt);
    if shared.shutdown.is_cancelled() {
        attempt.stop(StopReason::Shutdown);
    }

    let done = CancellationToken::new();
    let work = async {
        let result = match &handler {
            Some(handler) => run(&shared, Arc::clone(handler), &attempt, &slot).await,
            None => {
                let kind = &attempt.row.kind;
                Err(TaskFailure::Transient(format!("no handler for tasks of kind `{kind}`")))
            }
        };
        if !attempt.has_ended() {
            let policy = shared.config.policy();
            conclude(&attempt, handler.as_ref(), &result, &policy, &shared.shutdown).await;
        }
        done.cancel();
    };
    tokio::join!(work, attempt.upkeep(&done));
    slot.set_over();
}

/// Runs the handler in a task of its own, so that neither its blocking nor its panic touches the
/// upkeep of the lease, and drops it when it does not stop in time. A handler that cannot even be
/// dropped, because its thread is blocked, is left to itself; it keeps its slot.
async fn run(
    shared: &Shared,
    handler: Arc<dyn Handler>,
    attempt: &Arc<Attempt>,
    slot: &Arc<Slot>,
) -> Result<(), TaskFailure> {
    let handle = TaskHandle::new(Arc::clone(attempt), Arc::clone(slot));
    let mut work = AbortOnDrop(tokio::spawn(async move { handler.run(&handle).await }));
    let joined = tokio::select! {
        joined = &mut work.0 => Some(joined),
        () = attempt.cancel.cancelled() => stop(shared, &mut work.0).await,
        () = no_progress(attempt, shared.config.deadline) => {
            let kind = attempt.row.kind.clone();
            tracing::warn!(task = attempt.row.task_id, kind, "no progress until the deadline");
            metrics::counter!("berth_tasks_stuck_total", "kind" => kind).increment(1);
            attempt.stop(StopReason::Stuck);
            stop(shared, &mut work.0).await
        }
    };
    match joined {
        Some(Ok(result)) => result,
        Some(Err(error)) if !error.is_cancelled() => {
            let panic = error.into_panic();
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            Err(TaskFailure::Permanent(format!("the task's handler panicked: {text}")))
        }
        _ => Err(match attempt.stop_reason() {
            Some(StopReason::LeaseLost) => TaskFailure::LeaseLost,
            _ => TaskFailure::Canceled,
        }),
    }
}

/// Waits for a handler that was told to stop, then for its drop, which should be over before the
/// task's end is written. `None`: its thread is blocked.
async fn stop(
    shared: &Shared,
    work: &mut JoinHandle<Result<(), TaskFailure>>,
) -> Option<Result<Result<(), TaskFailure>, JoinError>> {
    let grace = shared.config.grace;
    if let Ok(joined) = tokio::time::timeout(grace, &mut *work).await {
        return Some(joined);
    }
    work.abort();
    tokio::time::timeout(grace, work).await.ok()
}

/// Returns when the attempt did not get on for as long as the deadline; zero is none.
async fn no_progress(attempt: &Attempt, deadline: Duration) {
    if deadline.is_zero() {
        return std::future::pending().await;
    }
    loop {
        let (stood, _) = attempt.stood();
        let Some(left) = deadline.checked_sub(stood).filter(|left| !left.is_zero()) else { return };
        tokio::time::sleep(left).await;
    }
}

struct AbortOnDrop(JoinHandle<Result<(), TaskFailure>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
