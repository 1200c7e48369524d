//! `[gc]`: when what nothing uses any more is collected.

use std::time::Duration;

use berth_artifacts::GcConfig;
use serde::Deserialize;

use super::{ConfigError, units};

/// `[gc]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct GcSection {
    /// Time between two collections. 0: only on request.
    #[serde(deserialize_with = "units::duration")]
    pub interval: Duration,
    /// How long something without a use stays: longer than a push takes.
    #[serde(deserialize_with = "units::duration")]
    pub grace: Duration,
    /// How long a converted layer that no repository has stays for further builds.
    #[serde(deserialize_with = "units::duration")]
    pub layer_cache: Duration,
    /// How long an upload may pause.
    #[serde(deserialize_with = "units::duration")]
    pub upload_pause: Duration,
}

impl Default for GcSection {
    fn default() -> Self {
        let GcConfig { grace, layer_cache, upload_pause } = GcConfig::default();
        Self { interval: Duration::from_secs(3600), grace, layer_cache, upload_pause }
    }
}

/// More would overflow somewhere.
const MOST: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

impl GcSection {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let Self { interval, grace, layer_cache, upload_pause } = *self;
        let values = [
            ("interval", interval),
            ("grace", grace),
            ("layer_cache", layer_cache),
            ("upload_pause", upload_pause),
        ];
        for (name, value) in values {
            if value > MOST {
                return Err(ConfigError::Value(format!("gc.{name} must be at most a century")));
            }
        }
        Ok(())
    }

    /// What the collector is told.
    pub fn collector(&self) -> GcConfig {
        let Self { grace, layer_cache, upload_pause, .. } = *self;
        GcConfig { grace, layer_cache, upload_pause }
    }
}
