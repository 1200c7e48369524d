//! Takes tasks back from workers that disappeared.

use std::sync::Arc;

use berth_metadata::DbError;
use berth_metadata::tables::task;

use crate::end::{Verdict, judge_lost, record, write};
use crate::runner::Shared;
use crate::{Handler, TASKS_CHANNEL, TaskRow};

/// Expired tasks per round.
const BATCH: i64 = 100;

/// Looks for expired leases of the runner's queue. Never returns.
pub(crate) async fn reap_forever(shared: &Shared) {
    let every = shared.config.lease / 3;
    while let Err(error) = take_over(shared).await {
        tracing::warn!(%error, "looking for tasks of the last process failed");
        tokio::time::sleep(every).await;
    }
    loop {
        let pause = match reap(shared).await {
            Ok(()) => every,
            // Nobody could renew a lease meanwhile: those that live do it now.
            Err(error) => {
                tracing::warn!(%error, "looking for expired leases failed");
                shared.config.lease
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Where the lock on the database proves that no other process is at work, the tasks of processes
/// that were are taken back at once.
async fn take_over(shared: &Shared) -> Result<(), DbError> {
    let tenure = shared.db.tenure();
    if tenure.is_empty() {
        return Ok(());
    }
    loop {
        let mut session = shared.db.read().await?;
        let left = task::left_behind(&mut session, shared.config.queue, tenure, BATCH).await?;
        drop(session);
        if left.is_empty() {
            return Ok(());
        }
        take_all_back(shared, left, Lease::Void).await?;
    }
}

/// One round.
pub(crate) async fn reap(shared: &Shared) -> Result<(), DbError> {
    let mut session = shared.db.read().await?;
    let now = session.database_time().await?;
    let expired = task::expired(&mut session, shared.config.queue, now, BATCH).await?;
    drop(session);
    take_all_back(shared, expired, Lease::Expired).await
}

/// Why a lease does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lease {
    Expired,
    /// Whatever it says.
    Void,
}

async fn take_all_back(shared: &Shared, rows: Vec<TaskRow>, lease: Lease) -> Result<(), DbError> {
    let (mut ready, mut failed) = (false, None);
    for row in rows {
        let handler = shared.handlers.get(row.kind.as_str());
        let mut taken = take_back(shared, &row, lease, handler).await;
        if let Err(error) = &taken
            && !error.is_transient()
            && handler.is_some()
        {
            tracing::error!(task = row.task_id, %error, "the handler could not end its rows");
            taken = take_back(shared, &row, lease, None).await;
        }
        match taken {
            Ok(now_ready) => ready |= now_ready,
            Err(error) => {
                tracing::warn!(task = row.task_id, %error, "lost task not taken back");
                failed = Some(error);
            }
        }
    }
    if ready {
        shared.db.notify(TASKS_CHANNEL);
    }
    failed.map_or(Ok(()), Err)
}

/// Takes one task back; whether it is ready again.
async fn take_back(
    shared: &Shared,
    row: &TaskRow,
    lease: Lease,
    handler: Option<&Arc<dyn Handler>>,
) -> Result<bool, DbError> {
    let mut session = shared.db.begin().await?;
    let now = session.database_time().await?;
    let before = (lease == Lease::Expired).then_some(now);
    let fenced = task::fence_lost(&mut session, &row.task_id, row.attempt, before).await?;
    let Some(cancel_requested) = fenced else { return Ok(false) };
    let verdict = judge_lost(cancel_requested, row, &shared.config.policy());
    let hook = handler.map(AsRef::as_ref);
    write(&mut session, row, &verdict, hook, now, None).await?;
    session.commit().await?;
    record(row, &verdict);
    Ok(verdict == Verdict::Lost)
}
