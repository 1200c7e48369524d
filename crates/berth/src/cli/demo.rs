//! `berth demo`: the main job, end to end, on embedded defaults and real input.

mod machine;
mod proof;
mod remote;
mod start;
mod story;

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use berth_server::telemetry::{self, LastLines};
use berth_server::{Config, Layers, RunningServer, Server};
use clap::Args;

use super::{Failure, runtime};
use crate::credentials::{Keyring, RegistryArgs};
use crate::image::{LocalImage, hosts};
use crate::layout::Layout;

/// Shows the main job: starts a server on a free port in a temporary folder, pushes an image,
/// subscribes to it as an upstream, builds the accelerated image and reads from it what a start
/// reads, by ranged requests alone. Fails if anything is not true.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// The image to work on, as `oci:DIR[:NAME]`; without it, the files of this machine.
    #[arg(long, value_name = "oci:DIR[:NAME]", conflicts_with = "from")]
    image: Option<String>,
    /// The image to work on, as `host/repository[:tag]` of any registry.
    #[arg(long, value_name = "REF")]
    from: Option<String>,
    /// Keeps the data folder of the demo here instead of in a temporary one.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Runs the demo.
pub(crate) fn run(args: &DemoArgs) -> Result<(), Failure> {
    let keyring = args.registry.keyring(&hosts(args.image.iter().chain(&args.from)))?;
    runtime()?.block_on(demo(args, &keyring)).map_err(Failure::Failed)
}

async fn demo(args: &DemoArgs, keyring: &Keyring) -> anyhow::Result<()> {
    let temporary = tempfile::Builder::new().prefix("berth-demo-").tempdir()?;
    let folder = args.data_dir.clone().unwrap_or_else(|| temporary.path().to_owned());
    let (image, what) = source(args, keyring, &folder).await?;
    let (server, _last_lines) = start_server(&folder.join("data")).await?;
    say(&format!("A server listens on {}, its data in {}", server.endpoint(), folder.display()));
    let told = story::tell(&server, &image, &what).await;
    server.shutdown();
    server.wait().await;
    told
}

/// The image that the demo works on, and what to call it.
async fn source(
    args: &DemoArgs,
    keyring: &Keyring,
    folder: &Path,
) -> anyhow::Result<(LocalImage, String)> {
    if let Some(name) = args.image.as_ref().or(args.from.as_ref()) {
        let image = LocalImage::open(name, keyring).await.with_context(|| name.clone())?;
        return Ok((image, name.clone()));
    }
    let layout = folder.join("source");
    machine::write(&Layout::create(&layout)?, "v1")
        .context("cannot make an image of this machine's files")?;
    let image = LocalImage::open(&format!("oci:{}:v1", layout.display()), keyring).await?;
    Ok((image, "an image of this machine's files".to_owned()))
}

async fn start_server(data: &Path) -> anyhow::Result<(RunningServer, Option<LastLines>)> {
    let data = data.to_str().context("the data folder's name is not text")?;
    let layers = Layers::new()
        .with_flag("server.data_dir", data)
        .with_flag("server.listen", "127.0.0.1:0")
        .with_flag("server.log_level", "warn")
        .with_flag("upstream.allow", "127.0.0.0/8");
    let config = Config::load(&layers).context("configuration of the demo")?;
    // A log that cannot be set up is no reason not to show the rest.
    let last_lines = telemetry::init(&config.server).ok();
    Ok((Server::start(config).await.context("cannot start the server")?, last_lines))
}

/// A line of the story.
fn say(line: &str) {
    let arrow = if std::io::stdout().is_terminal() { "\u{1b}[1m==>\u{1b}[0m" } else { "==>" };
    print(&format!("{arrow} {line}"));
}

/// A line of the results. Nobody may be reading; that is no reason to stop.
fn print(line: &str) {
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}
