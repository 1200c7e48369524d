//! Logs: one line per event on standard error, as text or JSON.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogFormat, ServerSection};

/// Starts logging as configured. Only the first call in a process has an effect.
///
/// # Errors
/// The text of what is wrong with `server.log_level`.
pub fn init(server: &ServerSection) -> Result<(), String> {
    let filter = EnvFilter::try_new(&server.log_level)
        .map_err(|error| format!("server.log_level `{}`: {error}", server.log_level))?;
    let json = match server.log_format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if json {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .finish()
            .try_init()
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).finish().try_init()
    };
    // Another subscriber is there already: a test's, or that of an earlier server.
    drop(started);
    Ok(())
}
