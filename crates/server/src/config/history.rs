//! `[history]`: how long finished builds and subscription tasks are remembered.

use std::time::Duration;

use berth_maintenance::HistoryConfig;
use serde::Deserialize;

use super::units;

/// `[history]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct HistorySection {
    /// Time between two clean-ups. 0: only on request.
    #[serde(deserialize_with = "units::duration")]
    pub interval: Duration,
    /// How long a finished task stays. 0: for ever.
    #[serde(deserialize_with = "units::duration")]
    pub keep: Duration,
    /// How many tasks of a repository, and of a subscription rule, stay. 0: any number.
    pub count: u32,
}

impl Default for HistorySection {
    fn default() -> Self {
        let HistoryConfig { keep, count } = HistoryConfig::default();
        Self { interval: Duration::from_secs(24 * 3600), keep, count }
    }
}

impl HistorySection {
    /// What the clean-up is told.
    pub fn kept(&self) -> HistoryConfig {
        HistoryConfig { keep: self.keep, count: self.count }
    }
}
