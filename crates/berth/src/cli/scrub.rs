//! `berth scrub`: reads every blob again.

use std::io::Write as _;

use anyhow::Context as _;
use async_trait::async_trait;
use berth_maintenance::{ScrubProgress, ScrubWatch};
use berth_server::config::parse_size;
use berth_server::open_scrub;
use clap::Args;

use super::settings::SettingsArgs;
use super::{Failure, runtime};

/// Reads every blob again, puts damaged ones in quarantine, and fetches those from where
/// subscriptions copied them.
///
/// A server does this by itself every `scrub.interval`. On SQLite, a scrub needs the database for
/// itself: stop the server, or ask it with `berth call CreateMaintenanceTask --Scope SERVER --Kind SCRUB`.
///
/// Exit code 0 when every blob is whole or was repaired, 1 when one is not or could not be read.
#[derive(Debug, Args)]
pub(crate) struct ScrubArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Bytes per second to read at most, such as 200MiB; 0 is without limit [scrub.rate].
    #[arg(long, value_name = "SIZE", value_parser = size)]
    rate: Option<u64>,
    /// Goes on with the pass under way, the server's or one that was interrupted.
    #[arg(long)]
    resume: bool,
    /// Prints the report as JSON.
    #[arg(long)]
    json: bool,
}

fn size(text: &str) -> anyhow::Result<u64> {
    parse_size(text).with_context(|| format!("`{text}` is not a size such as 512MiB"))
}

/// Scrubs and reports.
pub(crate) fn run(args: &ScrubArgs) -> Result<(), Failure> {
    let mut config = args.settings.load()?;
    config.scrub.rate = args.rate.unwrap_or(config.scrub.rate);
    let report = runtime()?.block_on(async {
        let scrub = open_scrub(&config).await.context("cannot open")?;
        if !args.resume {
            scrub.restart().await.context("cannot begin")?;
        }
        scrub.run(&Lines { silent: args.json }).await.context("the scrub failed")
    })?;
    if args.json {
        print(&serde_json::to_string_pretty(&report).context("the report")?)?;
    }
    let sound = report.damaged == report.repaired && report.unread == 0;
    if sound { Ok(()) } else { Err(Failure::Silent) }
}

/// Prints what is found as it is found.
struct Lines {
    silent: bool,
}

#[async_trait]
impl ScrubWatch for Lines {
    async fn log(&self, line: String) {
        if !self.silent {
            // Nobody may be reading; that is no reason to stop.
            drop(print(&line));
        }
    }

    fn progress(&self, _: ScrubProgress<'_>) {}
}

fn print(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}").context("cannot write the report")
}
