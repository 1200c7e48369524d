//! Logs: one line per event on standard error, as text or JSON.
//!
//! Nobody who logs waits for the log or fails with it: lines go through [`sink`], which drops and
//! counts what cannot be written. That holds for the report of a panic as well.

mod panics;
mod sink;

use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;
use std::sync::OnceLock;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogFormat, ServerSection};
use sink::Sink;

/// How long the end of a process waits for its last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

static SINK: OnceLock<Sink> = OnceLock::new();

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("server.log_level `{level}`: {source}")]
    Level { level: String, source: tracing_subscriber::filter::ParseError },
    #[error("cannot log to standard error: {0}")]
    Sink(#[from] std::io::Error),
}

/// Keeps the end of the process waiting until its last lines are written, or 2 s.
#[derive(Debug)]
#[must_use = "the last lines of the log are lost without it"]
pub struct LastLines(());

impl Drop for LastLines {
    fn drop(&mut self) {
        if let Some(sink) = SINK.get() {
            sink.flush(LAST_LINES);
        }
    }
}

/// Starts logging as configured; panics are logged from here on. Only the first call in a process
/// has an effect.
///
/// # Errors
/// [`TelemetryError`] when `server.log_level` is wrong or there is no standard error.
pub fn init(server: &ServerSection) -> Result<LastLines, TelemetryError> {
    let filter = EnvFilter::try_new(&server.log_level)
        .map_err(|source| TelemetryError::Level { level: server.log_level.clone(), source })?;
    let json = match server.log_format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(sink()?)
        // It would say so on standard error, and panic where that fails.
        .log_internal_errors(false);
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
    // Another subscriber may be there already: a test's, or that of an earlier server.
    if started.is_ok() {
        panics::log_them();
    }
    Ok(LastLines(()))
}

/// Says something to whoever sits at the terminal, in order with the lines of the log.
pub fn say(text: &str) {
    if let Some(sink) = SINK.get() {
        sink.push(text.as_bytes().to_vec());
    }
}

/// Lines of the log that could not be written since the process started.
pub(crate) fn lost_lines() -> u64 {
    SINK.get().map_or(0, Sink::lost)
}

/// The sink of this process: standard error by a handle of its own, since whoever writes to the
/// shared one holds its lock for as long as that takes.
fn sink() -> Result<Sink, std::io::Error> {
    if let Some(sink) = SINK.get() {
        return Ok(sink.clone());
    }
    let errors = std::fs::File::from(std::io::stderr().as_fd().try_clone_to_owned()?);
    let sink = Sink::start(errors)?;
    Ok(SINK.get_or_init(|| sink).clone())
}
