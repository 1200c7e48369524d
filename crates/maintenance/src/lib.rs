//! Tasks that keep what is stored in order: garbage collection, scrubbing and forgetting finished
//! tasks, by the clock and on request.
//!
//! Owns the collector, the scrubber and the tasks that run them. Decides what goes; how a blob is
//! hashed, repaired and removed is `berth-artifacts`' business. Must not know HTTP.
//!
//! Entry points: [`Maintenance`], [`Gc`], [`Scrub`], [`History`], [`MaintenanceTasks`].

mod gc;
mod history;
mod maintenance;
mod maintenance_task;
mod scope;
mod scrub;

pub use gc::{Collector, Gc, GcAudit, GcItem, GcReport, GcStage, GcWatch};
pub use history::{Forgotten, History, HistoryConfig};
pub use maintenance::Maintenance;
pub use maintenance_task::{MaintenanceError, MaintenanceKind, MaintenanceTask, MaintenanceTasks};
pub use scope::MaintenanceScope;
pub use scrub::{Scrub, ScrubProgress, ScrubReport, ScrubWatch};
