//! `cargo xtask stress`: the stories of the test suite that have a duration, for as long as it takes
//! to believe them.

use crate::test;
use anyhow::Result;
use clap::{Args, ValueEnum};

#[derive(Args)]
pub(crate) struct Options {
    /// What to tell.
    #[arg(value_enum)]
    story: Story,
    /// How long the story of the collector or of disks is, for each way of running Berth: 300 and 60
    /// by default.
    #[arg(long)]
    seconds: Option<u64>,
    /// How often a server is killed in the story of crashes.
    #[arg(long, default_value_t = 200)]
    kills: u64,
    /// A part of the names of the tests to run; all of the story when not given.
    filter: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Story {
    /// Sixteen clients, and a collection every second.
    Gc,
    /// Servers killed at random under a random load.
    Crash,
    /// Disks that fill up and are freed, and a PostgreSQL that comes and goes, under load.
    Disk,
}

/// Runs the story's tests one after the other, against the release build: what runs every second must
/// be done within it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let (target, filter, seconds) = match options.story {
        Story::Gc => ("maintenance_task", "gc_stress", 300),
        Story::Crash => ("upload", "crash", 300),
        Story::Disk => ("system", "disk_stress", 60),
    };
    let filter = options.filter.as_deref().unwrap_or(filter);
    let variables = vec![
        ("BERTH_STRESS_SECONDS", options.seconds.unwrap_or(seconds).to_string()),
        ("BERTH_KILLS", options.kills.to_string()),
        ("BERTH_BIN", test::release_binary(true)?),
    ];
    test::run(&test::Options::of_story(target, filter, variables))
}
