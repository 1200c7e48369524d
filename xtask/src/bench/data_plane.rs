//! `cargo xtask bench data-plane`.

use anyhow::{Context, Result};
use clap::Args;
use std::path::{Path, PathBuf};

use super::figures::{Figures, Row, Sample};
use super::image::Image;
use super::load::{Client, Repeated};
use super::machine;
use super::page;
use super::ranges::RandomRanges;
use super::server::{Kind, Programs, Server};
use crate::{setup, test};

/// The name of the table in the page.
const TABLE: &str = "data plane";

const REPOSITORY: &str = "bench/app";
const TAG: &str = "v1";

const WARM_UPS: u32 = 3;

/// How often and beside whom.
#[derive(Args)]
pub(crate) struct Options {
    /// Repetitions; the table shows the medians.
    #[arg(long, default_value_t = 5)]
    reps: u32,
    /// Whom to measure Berth beside.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["dist31", "dist28"])]
    peer: Vec<Kind>,
    /// The program of another build of Berth, measured beside them all: tells what a change did from
    /// what the machine does today. Nothing is written.
    #[arg(long)]
    before: Option<PathBuf>,
    /// A smaller image, shorter and once: shows that it works, and is no measurement. Nothing is
    /// written.
    #[arg(long)]
    quick: bool,
    /// Only these rows; nothing is written.
    #[arg(long, value_enum, value_delimiter = ',')]
    row: Vec<Row>,
    /// Measure the release build that is there.
    #[arg(long)]
    no_build: bool,
    /// Only print the table.
    #[arg(long)]
    dry_run: bool,
}

/// Measures, prints the table and writes it into the page.
pub(super) fn run(options: &Options) -> Result<()> {
    let programs = prepare(options)?;
    let mut peers = options.peer.clone();
    if options.before.is_some() {
        peers.push(Kind::Before);
    }
    let folder = tempfile::Builder::new().prefix("berth-bench-").tempdir_in("/var/tmp")?;
    println!("xtask: making the image");
    let image = Image::make(&folder.path().join("image"), options.quick)?;
    let plan = Plan {
        image: &image,
        programs: &programs,
        folder: folder.path(),
        rows: if options.row.is_empty() { &Row::ALL } else { &options.row },
        seconds: if options.quick { 1 } else { 5 },
    };
    plan.warm_up(&peers)?;
    let mut figures = Figures::default();
    let repetitions = if options.quick { 1 } else { options.reps };
    for _ in 0..repetitions {
        for kind in peers.iter().copied().chain([Kind::Berth]) {
            plan.measure(kind, &mut figures).with_context(|| kind.title())?;
        }
    }
    let table = figures.table(&peers);
    println!("\n{table}");
    let part = options.before.is_some() || !options.row.is_empty();
    if options.quick || options.dry_run || part {
        return Ok(());
    }
    let text = format!(
        "{table}\nMedians of {repetitions} on {}, {} MB of layers. Made by\n`{}`.\n",
        machine::describe(folder.path())?,
        image.bytes() / 1_000_000,
        command(options),
    );
    page::write(TABLE, &text)
}

/// The command that does the same again.
fn command(options: &Options) -> String {
    let names = options.peer.iter().map(|kind| format!("{kind:?}").to_lowercase());
    let peers: Vec<String> = names.collect();
    format!("cargo xtask bench data-plane --reps {} --peer {}", options.reps, peers.join(","))
}

/// Builds Berth and installs everything else.
fn prepare(options: &Options) -> Result<Programs> {
    let dist31 = setup::prepare_bench()?;
    let berth = test::release_binary(!options.no_build)?.into();
    let before = options.before.clone().unwrap_or_default();
    let dist28 = crate::shell::find_program("docker-registry").context("no docker-registry")?;
    Ok(Programs { berth, before, dist31, dist28 })
}

/// What is the same for every server.
struct Plan<'a> {
    image: &'a Image,
    programs: &'a Programs,
    folder: &'a Path,
    rows: &'a [Row],
    seconds: u32,
}

impl Plan<'_> {
    fn wants(&self, row: Row) -> bool {
        self.rows.contains(&row)
    }

    /// Pushes that nobody measures: the first ones on a machine at rest are as slow as its hypervisor is at
    /// giving it memory.
    fn warm_up(&self, peers: &[Kind]) -> Result<()> {
        println!("xtask: warming up");
        for _ in 0..WARM_UPS {
            for kind in peers.iter().copied().chain([Kind::Berth]) {
                let server = Server::start(kind, self.programs, self.folder)?;
                let client = Client::new(&server, &[REPOSITORY])?;
                client.push(REPOSITORY, &self.image.layers, 4)?;
            }
        }
        Ok(())
    }

    fn measure(&self, kind: Kind, figures: &mut Figures) -> Result<()> {
        let (layers, bytes) = (&self.image.layers, self.image.bytes());
        if self.wants(Row::Idle) || self.wants(Row::PushOne) {
            let server = Server::start(kind, self.programs, self.folder)?;
            // What starting needed is given back after a moment.
            std::thread::sleep(std::time::Duration::from_secs(3));
            let idle = server.memory()?;
            figures.add(Row::Idle, kind, Sample { rate: 0.0, cpu: 0.0, peak: idle, slow: None });
            let client = Client::new(&server, &[REPOSITORY])?;
            machine::claim_memory(self.folder, bytes)?;
            let pushed = client.bulk(bytes, || client.push(REPOSITORY, layers, 1))?;
            figures.add(Row::PushOne, kind, pushed);
        }
        let server = Server::start(kind, self.programs, self.folder)?;
        let client = Client::new(&server, &[REPOSITORY])?;
        machine::claim_memory(self.folder, bytes)?;
        let pushed = client.bulk(bytes, || client.push(REPOSITORY, layers, 4))?;
        figures.add(Row::PushFour, kind, pushed);
        client.push_manifest(REPOSITORY, TAG, self.image)?;

        if self.wants(Row::PullOne) {
            let pulled = client.bulk(bytes, || client.pull(REPOSITORY, layers, 1))?;
            figures.add(Row::PullOne, kind, pulled);
        }
        if self.wants(Row::PullEight) {
            // Several times: so little processor time cannot be measured once.
            const TIMES: usize = 4;
            let often: Vec<_> =
                std::iter::repeat_n(layers.as_slice(), TIMES).flatten().cloned().collect();
            let pulled =
                client.bulk(bytes * TIMES as u64, || client.pull(REPOSITORY, &often, 8))?;
            figures.add(Row::PullEight, kind, pulled);
        }
        self.ask(&server, figures)
    }

    fn ask(&self, server: &Server, figures: &mut Figures) -> Result<()> {
        let largest = self.image.layers.iter().max_by_key(|layer| layer.size);
        let largest = largest.context("an image without layers")?;
        let blob = format!("/v2/{REPOSITORY}/blobs/{}", largest.digest);
        let by_tag = format!("/v2/{REPOSITORY}/manifests/{TAG}");
        let by_digest = format!("/v2/{REPOSITORY}/manifests/{}", self.image.manifest.digest);
        for row in self.rows.iter().copied() {
            let client = Client::new(server, &[REPOSITORY])?;
            let ranges = |length, clients| {
                let (path, size, seconds) = (&blob, largest.size, self.seconds);
                client.ranges(&RandomRanges { path, length, size, clients, seconds })
            };
            let manifest = |path| Repeated {
                path,
                accept: Some(Image::MEDIA_TYPE),
                clients: 32,
                seconds: self.seconds,
            };
            let sample = match row {
                Row::SmallRanges => ranges(64 << 10, 16)?,
                Row::LargeRanges => ranges(1 << 20, 128)?,
                Row::ManifestByTag => client.get(self.folder, &manifest(&by_tag))?,
                Row::ManifestByDigest => client.get(self.folder, &manifest(&by_digest))?,
                Row::HeadByTag => client.head(&manifest(&by_tag))?,
                _ => continue,
            };
            figures.add(row, server.kind, sample);
        }
        Ok(())
    }
}
