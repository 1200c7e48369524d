//! The configuration of commands that work on the database and the store of a server.

use std::path::{Path, PathBuf};

use berth_server::{Config, ConfigError, Layers};
use clap::Args;

use super::Failure;

/// Where the configuration is.
#[derive(Debug, Args)]
pub(crate) struct SettingsArgs {
    /// Configuration file; `berth.toml` in the working directory is taken when it exists.
    #[arg(long, value_name = "FILE", env = "BERTH_CONFIG")]
    config: Option<PathBuf>,
    /// Folder of everything that is kept [server.data_dir, default ./berth-data].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Any other key, as `section.key=value`; may be repeated. Secrets are refused.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl SettingsArgs {
    /// The configuration as a server with the same arguments has it.
    pub(crate) fn load(&self) -> Result<Config, Failure> {
        let usage = |error: ConfigError| Failure::Usage(error.to_string());
        let mut layers = Layers::new();
        let default = Path::new("berth.toml");
        if let Some(path) = self.config.as_deref().or_else(|| default.exists().then_some(default)) {
            layers = layers.with_file(path).map_err(usage)?;
        }
        let variables = std::env::vars_os();
        let variables = variables.filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        layers = layers.with_environment(variables);
        for pair in &self.set {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| Failure::Usage(format!("--set {pair}: write section.key=value")))?;
            layers = layers.with_flag(key.trim(), value);
        }
        if let Some(data_dir) = &self.data_dir {
            layers = layers.with_flag("server.data_dir", data_dir);
        }
        Config::load(&layers).map_err(usage)
    }
}
