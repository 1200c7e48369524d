//! One attempt from its claim to its end.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::attempt::Attempt;
use crate::end::conclude;
use crate::handle::{StopReason, TaskHandle};
use crate::runner::Shared;
use crate::{Handler, TaskFailure, TaskRow};

/// Runs a claimed task. Dropping the future aborts its handler at the next await.
pub(crate) async fn supervise(shared: Arc<Shared>, row: TaskRow) {
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
            Some(handler) => run(&shared, Arc::clone(handler), &attempt).await,
            None => {
                let kind = &attempt.row.kind;
                Err(TaskFailure::Transient(format!("no handler for tasks of kind `{kind}`")))
            }
        };
        if !attempt.has_ended() {
            conclude(&attempt, handler.as_ref(), &result, &shared.config.policy()).await;
        }
        done.cancel();
    };
    tokio::join!(work, attempt.upkeep(&done));
}

/// Runs the handler in a task of its own, so that neither its blocking nor its panic touches the
/// upkeep of the lease, and drops it when it does not stop in time.
async fn run(
    shared: &Shared,
    handler: Arc<dyn Handler>,
    attempt: &Arc<Attempt>,
) -> Result<(), TaskFailure> {
    let handle = TaskHandle::new(Arc::clone(attempt));
    let mut work = AbortOnDrop(tokio::spawn(async move { handler.run(&handle).await }));
    let joined = tokio::select! {
        joined = &mut work.0 => joined,
        () = attempt.cancel.cancelled() => {
            let until = Instant::now() + shared.config.grace;
            match tokio::time::timeout_at(until, &mut work.0).await {
                Ok(joined) => joined,
                Err(_) => {
                    work.0.abort();
                    // Its drop must be over before the task's end is written.
                    (&mut work.0).await
                }
            }
        }
    };
    match joined {
        Ok(result) => result,
        Err(error) if error.is_cancelled() => Err(match attempt.stop_reason() {
            Some(StopReason::LeaseLost) => TaskFailure::LeaseLost,
            _ => TaskFailure::Canceled,
        }),
        Err(error) => {
            let panic = error.into_panic();
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            Err(TaskFailure::Permanent(format!("the task's handler panicked: {text}")))
        }
    }
}

struct AbortOnDrop(JoinHandle<Result<(), TaskFailure>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
