//! Periodic runs: one schedule per rule.

use std::time::Duration;

use async_trait::async_trait;
use berth_metadata::Session;
use berth_metadata::tables::schedule::Schedule;
use berth_metadata::tables::{artifact_subscription_rule, schedule};
use berth_tasks::{Fire, TaskError};
use berth_types::Millis;

use crate::artifact_subscription_rule as rules;
use crate::artifact_subscription_task::TaskType;
use crate::error::SubscriptionError;
use crate::subscription::Subscription;

/// The kind of schedule that [`Subscription`] fires.
pub const SCHEDULE_KIND: &str = "subscription";

/// The schedule of a rule, which has the rule's id, from a time of the database.
pub(crate) fn schedule_of(rule_id: &str, interval: Duration, now: Millis) -> Schedule {
    let interval_ms = Millis::try_from(interval.as_millis()).unwrap_or(Millis::MAX);
    Schedule {
        schedule_id: rule_id.to_owned(),
        kind: SCHEDULE_KIND.to_owned(),
        payload: serde_json::Value::Null.to_string(),
        interval_ms,
        next_at: now.saturating_add(interval_ms),
    }
}

#[async_trait]
impl Fire for Subscription {
    /// Enqueues a run, unless one of the rule is unfinished. Schedules of other kinds are left
    /// alone; one whose rule is gone is removed.
    async fn fire(&self, session: &mut Session, due: &Schedule) -> Result<(), TaskError> {
        if due.kind != SCHEDULE_KIND {
            return Ok(());
        }
        let Some(row) = artifact_subscription_rule::find_by_id(session, &due.schedule_id).await?
        else {
            schedule::remove(session, &due.schedule_id).await?;
            return Ok(());
        };
        let outcome = match rules::read(row) {
            Ok(rule) => self.enqueue(session, &rule, TaskType::Auto).await.map(drop),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => Ok(()),
            Err(SubscriptionError::Database(error)) => Err(error.into()),
            Err(SubscriptionError::Task(error)) => Err(error),
            Err(error) => {
                tracing::error!(rule = due.schedule_id, %error, "periodic run was not made");
                Ok(())
            }
        }
    }
}
