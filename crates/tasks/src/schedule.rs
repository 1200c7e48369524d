//! Fires what is due at regular times of the database, once however many schedulers run.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use berth_metadata::tables::schedule;
use berth_metadata::{Db, DbError, Session};
use berth_types::Millis;
use tokio_util::sync::CancellationToken;

use crate::{SCHEDULES_CHANNEL, TASKS_CHANNEL, TaskError};

/// Schedules per round.
const BATCH: i64 = 100;

/// Longest time between two looks.
const POLL: Duration = Duration::from_secs(1);

/// How soon a firing that failed is repeated.
const REPEAT_AFTER: Millis = 60_000;

/// What a schedule does when its time has come.
#[async_trait]
pub trait Fire: Send + Sync + 'static {
    /// Runs in the transaction that moves the schedule's time forward; enqueue there.
    ///
    /// # Errors
    /// Undoes the transaction; the schedule is due again within a minute.
    async fn fire(
        &self,
        session: &mut Session,
        schedule: &schedule::Schedule,
    ) -> Result<(), TaskError>;
}

/// Watches the `schedule` table. Any number may share a database.
pub struct Scheduler {
    db: Db,
    fire: Arc<dyn Fire>,
}

impl Scheduler {
    pub fn new(db: Db, fire: Arc<dyn Fire>) -> Self {
        Self { db, fire }
    }

    /// Fires until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            if let Err(error) = self.tick().await {
                tracing::warn!(%error, "firing schedules failed");
            }
            let wait = self.until_next().await.unwrap_or(POLL);
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.db.wait_notified(SCHEDULES_CHANNEL, wait) => {}
            }
        }
    }

    /// Fires everything that is due now by the database's time; how many it fired itself.
    ///
    /// # Errors
    /// [`TaskError`] when the database fails; a schedule that fails to fire is logged instead.
    pub async fn tick(&self) -> Result<usize, TaskError> {
        let now = self.db.read().await?.database_time().await?;
        self.tick_at(now).await
    }

    /// As [`Self::tick`], at a time of the database.
    ///
    /// # Errors
    /// As there.
    pub async fn tick_at(&self, now: Millis) -> Result<usize, TaskError> {
        let mut session = self.db.read().await?;
        let due = schedule::due(&mut session, now, BATCH).await?;
        drop(session);
        let mut fired = 0;
        for row in due {
            match self.fire_one(&row, now).await {
                Ok(true) => fired += 1,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(schedule = row.schedule_id, %error, "schedule did not fire");
                    self.postpone(&row, now).await?;
                }
            }
        }
        if fired > 0 {
            self.db.notify(TASKS_CHANNEL);
        }
        Ok(fired)
    }

    async fn fire_one(&self, row: &schedule::Schedule, now: Millis) -> Result<bool, TaskError> {
        let mut session = self.db.begin().await?;
        let next_at = next_after(row, now);
        if !schedule::move_on(&mut session, &row.schedule_id, row.next_at, next_at).await? {
            return Ok(false);
        }
        self.fire.fire(&mut session, row).await?;
        session.commit().await?;
        Ok(true)
    }

    async fn postpone(&self, row: &schedule::Schedule, now: Millis) -> Result<(), DbError> {
        let mut session = self.db.begin().await?;
        let next_at = next_after(row, now).min(now.saturating_add(REPEAT_AFTER));
        schedule::move_on(&mut session, &row.schedule_id, row.next_at, next_at).await?;
        session.commit().await
    }

    async fn until_next(&self) -> Result<Duration, DbError> {
        let mut session = self.db.read().await?;
        let Some(next_at) = schedule::next_at(&mut session).await? else { return Ok(POLL) };
        let left = next_at.saturating_sub(session.database_time().await?);
        let wait = Duration::from_millis(u64::try_from(left).unwrap_or(0));
        Ok(wait.clamp(Duration::from_millis(10), POLL))
    }
}

/// The first time of the schedule's rhythm after `now`; firings that were missed are left out.
fn next_after(row: &schedule::Schedule, now: Millis) -> Millis {
    let interval = row.interval_ms.max(1);
    let missed = now.saturating_sub(row.next_at).max(0) / interval;
    row.next_at.saturating_add(interval.saturating_mul(missed + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_its_rhythm() {
        let row = |next_at| schedule::Schedule {
            schedule_id: "s".to_owned(),
            kind: "k".to_owned(),
            payload: "null".to_owned(),
            interval_ms: 100,
            next_at,
        };
        assert_eq!(next_after(&row(1000), 1000), 1100);
        assert_eq!(next_after(&row(1000), 1099), 1100);
        assert_eq!(next_after(&row(1000), 1100), 1200);
        assert_eq!(next_after(&row(1000), 1_000_050), 1_000_100);
    }
}
