//! The times of the collector that nobody sets.

use std::time::Duration;

use berth_types::Millis;

/// How much longer than an upload session its pieces are left alone.
pub(super) const SWEEP_MARGIN: Duration = Duration::from_secs(600);

/// How long the tasks of maintenance that have ended are kept.
pub(super) const KEEP_TASKS: Millis = 30 * 24 * 3600 * 1000;

pub(super) fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX / 4)
}
