//! Durable tasks: leased, fenced, cancellable, prioritised, logged.
//!
//! Owns the life of a task from enqueue to its end: claiming with a lease, heartbeats, retry with
//! backoff, cancellation, recovery of tasks whose worker died, log lines, schedules. Must not know
//! what a task is about; the crates that do register a [`Handler`] per kind.
//!
//! The rule that everything rests on: a claim raises the task's attempt number, and every write of
//! a worker names (task, attempt) and touches a RUNNING row only. A worker that lost its lease can
//! therefore change nothing, whatever it still believes. Handlers get the same guarantee for their
//! own rows by writing them in the transaction of [`TaskHandle::fenced`].
//!
//! Leases, waiting times and schedules are measured in the database's time, so that no clock of a
//! server matters. Attempts that failed, workers that were lost and tasks that were given back are
//! counted apart: only failures use up a task's attempts (ADR 13). Whose turn it is when many wait is
//! decided between tenants and their shares (ADR 22).
//!
//! Entry points: [`enqueue`], [`ask`], [`Handler`], [`TaskHandle`], [`Runner`], [`Scheduler`].

pub mod ask;
mod attempt;
mod backoff;
mod claim;
mod end;
mod error;
mod handle;
mod handler;
mod log;
mod queue;
mod reaper;
mod runner;
mod schedule;
mod slots;
mod supervise;
mod watch;

pub use ask::{CancelOutcome, LogLine, TaskView, Words};
pub use berth_metadata::tables::task::{Task as TaskRow, TaskState, TaskStatus};
pub use error::{TaskError, TaskErrorKind};
pub use handle::{StopReason, TaskHandle};
pub use handler::{End, Handler, TaskFailure};
pub use queue::{Enqueued, NewTask, enqueue, raise_priority};
pub use runner::{Runner, RunnerConfig};
pub use schedule::{Fire, Scheduler};

/// Notified after a commit that made a task ready.
pub const TASKS_CHANNEL: &str = "berth_tasks";

/// Notified after a commit that requested a cancellation.
pub const CANCEL_CHANNEL: &str = "berth_task_cancel";

/// Notified when a schedule was added or changed.
pub const SCHEDULES_CHANNEL: &str = "berth_schedules";
