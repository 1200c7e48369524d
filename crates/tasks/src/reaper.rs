//! Takes tasks back from workers that disappeared.

use std::sync::Arc;
use std::time::Duration;

use berth_metadata::DbError;
use berth_metadata::tables::task;

use crate::end::{Verdict, record, write};
use crate::runner::Shared;
use crate::{End, Handler, TASKS_CHANNEL, TaskRow};

/// Expired tasks per round.
const BATCH: i64 = 100;

/// Looks for expired leases of the runner's queue. Never returns.
pub(crate) async fn reap_forever(shared: &Shared) {
    let every = shared.config.lease / 3;
    loop {
        if let Err(error) = reap(shared).await {
            tracing::warn!(%error, "looking for expired leases failed");
        }
        tokio::time::sleep(every).await;
    }
}

/// One round.
pub(crate) async fn reap(shared: &Shared) -> Result<(), DbError> {
    let now = shared.clock.now();
    let mut session = shared.db.read().await?;
    let expired = task::expired(&mut session, shared.config.queue, now, BATCH).await?;
    drop(session);
    let mut ready = false;
    for row in expired {
        let handler = shared.handlers.get(row.kind.as_str());
        let mut taken = take_back(shared, &row, handler).await;
        if let Err(error) = &taken
            && !error.is_transient()
            && handler.is_some()
        {
            tracing::error!(task = row.task_id, %error, "the handler could not end its rows");
            taken = take_back(shared, &row, None).await;
        }
        match taken {
            Ok(now_ready) => ready |= now_ready,
            Err(error) => {
                tracing::warn!(task = row.task_id, %error, "expired task not taken back");
            }
        }
    }
    if ready {
        shared.db.notify(TASKS_CHANNEL);
    }
    Ok(())
}

/// Takes one task back; whether it is ready again.
async fn take_back(
    shared: &Shared,
    row: &TaskRow,
    handler: Option<&Arc<dyn Handler>>,
) -> Result<bool, DbError> {
    let now = shared.clock.now();
    let mut session = shared.db.begin().await?;
    let fenced = task::fence_expired(&mut session, &row.task_id, row.attempt, now).await?;
    let Some(cancel_requested) = fenced else { return Ok(false) };
    let error = "the worker disappeared".to_owned();
    let verdict = if cancel_requested {
        Verdict::Ended(End::Canceled)
    } else if row.attempt >= row.max_attempts {
        Verdict::Ended(End::Failed(error))
    } else {
        Verdict::Retry { error, delay: Duration::ZERO }
    };
    let hook = handler.map(AsRef::as_ref);
    write(&mut session, row, &verdict, hook, now, None).await?;
    session.commit().await?;
    record(row, &verdict);
    Ok(matches!(verdict, Verdict::Retry { .. }))
}
