//! `cargo xtask bench tasks`.

use anyhow::{Context, Result};
use clap::Args;
use std::path::Path;
use std::process::Command;

use super::fill::{Database, FEW_REPOSITORIES, WAITING, repository, task};
use super::server::Server;
use super::signed::Operation;
use super::turns::{Ask, one_by_one, under_load};
use super::{machine, page};
use crate::services::Services;
use crate::shell::capture;
use crate::{setup, test};

/// The name of the table in the page.
const TABLE: &str = "tasks";

const SMALL: u64 = 1_000;

/// A quarter of the memory of a small server, as PostgreSQL's manual advises.
const BUFFERS: &str = "shared_buffers=2GB";

/// What is measured and how often.
#[derive(Args)]
pub(crate) struct Options {
    /// Rows of the large database.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Rounds. The table shows percentiles over all of them.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Requests of a round, to both sizes in turn.
    #[arg(long, default_value_t = 1000)]
    requests: u64,
    /// Only the rows with this in their title, and no claims; prints them only.
    #[arg(long)]
    row: Option<String>,
    /// Only this engine; prints only.
    #[arg(long)]
    engine: Option<Engine>,
    /// Measure the release build that is there.
    #[arg(long)]
    no_build: bool,
    /// Only print the table.
    #[arg(long)]
    dry_run: bool,
}

/// What keeps the rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Engine {
    Sqlite,
    Postgres,
}

/// What the rounds came to at one size.
#[derive(Default)]
struct Taken {
    /// Milliseconds of each request.
    times: Vec<f64>,
    /// Microseconds of the server's processor time per request, of each round under load.
    cpu: Vec<f64>,
}

/// What all rounds came to.
#[derive(Clone, Copy, Default)]
struct Figures {
    /// Milliseconds that half of the requests take longer than.
    half: f64,
    /// Milliseconds that one in a hundred takes longer than.
    slow: f64,
    /// Microseconds of the server's processor time per request, under load; 0 where not measured.
    cpu: f64,
}

/// Measures, prints the table and writes it into the page.
pub(super) fn run(options: &Options) -> Result<()> {
    setup::install_packages(setup::Extent::Bench)?;
    let programs = Programs::build(!options.no_build)?;
    let folder = tempfile::Builder::new().prefix("berth-bench-").tempdir_in("/var/tmp")?;
    let (mut sqlite, mut postgres) = (Measured::new(), Measured::new());
    if options.engine != Some(Engine::Postgres) {
        sqlite = measure(options, &programs, folder.path(), None).context("SQLite")?;
    }
    if options.engine != Some(Engine::Sqlite) {
        let (_postgres, url) = Services::postgres(folder.path(), &[BUFFERS])?;
        postgres = measure(options, &programs, folder.path(), Some(&url)).context("PostgreSQL")?;
    }
    let table = table(options, &sqlite, &postgres);
    println!("\n{table}");
    let part = options.row.is_some() || options.engine.is_some();
    if options.dry_run || part || options.rows != 1_000_000 {
        return Ok(());
    }
    let text = format!(
        "{table}\nOf {} rounds of {} requests to each size in turn, on {}. Made by\n`cargo xtask bench tasks`.\n",
        options.rounds,
        options.requests,
        machine::describe(folder.path())?,
    );
    page::write(TABLE, &text)
}

struct Programs {
    berth: std::path::PathBuf,
    /// Claims tasks as a worker does, and takes each claim back.
    claim: std::path::PathBuf,
}

impl Programs {
    fn build(build: bool) -> Result<Programs> {
        let berth: std::path::PathBuf = test::release_binary(build)?.into();
        let claim = berth.with_file_name("examples").join("claim");
        if build {
            let mut command = Command::new("cargo");
            command.args([
                "build",
                "--release",
                "--package",
                "berth-metadata",
                "--example",
                "claim",
            ]);
            crate::shell::run(&mut command)?;
        }
        Ok(Programs { berth, claim })
    }
}

/// One row of the table.
struct Row {
    title: &'static str,
    /// Also at the small size.
    small: bool,
    /// Whether each request is for a task that nobody asked for before, where servers remember
    /// (ADR 9: on SQLite).
    new: bool,
    goal: Goal,
    ask: fn(u64, &str, u64) -> Operation,
}

/// What a row is held to.
#[derive(Clone, Copy)]
enum Goal {
    /// The slow ones of the large size are at most 20 % slower.
    Flat,
    /// Half of the requests take at most so many milliseconds.
    Within(f64),
    /// Flat, and at most so many microseconds of the server's processor time on SQLite.
    Cpu(f64),
}

fn list(instance_id: &str, page: u64, rest: &[(&'static str, String)]) -> Operation {
    let mut parameters = vec![
        ("InstanceId", instance_id.to_owned()),
        ("PageNo", page.to_string()),
        ("PageSize", "30".to_owned()),
    ];
    parameters.extend(rest.iter().cloned());
    Operation { action: "ListArtifactBuildTask", parameters }
}

fn tags(instance_id: &str, page: u64) -> Operation {
    let parameters = vec![
        ("InstanceId", instance_id.to_owned()),
        ("PageNo", page.to_string()),
        ("PageSize", "30".to_owned()),
        ("RepoId", repository(0)),
    ];
    Operation { action: "ListRepoTag", parameters }
}

fn get(instance_id: &str, number: u64) -> Operation {
    let parameters = vec![("BuildTaskId", task(number)), ("InstanceId", instance_id.to_owned())];
    Operation { action: "GetArtifactBuildTask", parameters }
}

const ROWS: &[Row] = &[
    Row {
        title: "ListArtifactBuildTask, page 1",
        small: true,
        new: false,
        goal: Goal::Flat,
        ask: |_, instance, _| list(instance, 1, &[]),
    },
    Row {
        title: "… of one repository",
        small: true,
        new: false,
        goal: Goal::Flat,
        ask: |number, instance, _| {
            list(instance, 1, &[("RepoId", repository(number % FEW_REPOSITORIES))])
        },
    },
    Row {
        title: "… of a status",
        small: true,
        new: false,
        goal: Goal::Flat,
        ask: |_, instance, _| list(instance, 1, &[("TaskStatus", "PENDING".to_owned())]),
    },
    Row {
        title: "… of a repository and a tag that have none",
        small: true,
        new: false,
        goal: Goal::Flat,
        ask: |_, instance, _| {
            list(instance, 1, &[("RepoId", repository(0)), ("Tag", "none".to_owned())])
        },
    },
    Row {
        title: "… page 334, row 10 000",
        small: false,
        new: false,
        goal: Goal::Within(5.0),
        ask: |_, instance, _| list(instance, 334, &[]),
    },
    Row {
        title: "… the page in the middle",
        small: false,
        new: false,
        goal: Goal::Within(50.0),
        ask: |_, instance, rows| list(instance, rows / 60, &[]),
    },
    Row {
        title: "… the last page",
        small: true,
        new: false,
        goal: Goal::Flat,
        ask: |_, instance, rows| list(instance, rows / 30, &[]),
    },
    Row {
        title: "GetArtifactBuildTask, the same task",
        small: true,
        new: false,
        goal: Goal::Cpu(100.0),
        ask: |_, instance, _| get(instance, 5),
    },
    Row {
        title: "GetArtifactBuildTask, always another",
        small: true,
        new: true,
        goal: Goal::Flat,
        ask: |number, instance, rows| get(instance, number * 7919 % rows),
    },
    Row {
        title: "ListRepoTag, page 1 (100 000 tags)",
        small: true,
        new: false,
        goal: Goal::Cpu(1000.0),
        ask: |_, instance, _| tags(instance, 1),
    },
    Row {
        title: "ListRepoTag, page 3 000",
        small: false,
        new: false,
        goal: Goal::Within(50.0),
        ask: |_, instance, rows| tags(instance, rows * 3 / 1000),
    },
];

/// Figures of each row, and of a claim, at the small and at the large size.
type Measured = Vec<[Option<Figures>; 2]>;

fn measure(
    options: &Options,
    programs: &Programs,
    folder: &Path,
    postgres: Option<&str>,
) -> Result<Measured> {
    let engine = if postgres.is_some() { "postgres" } else { "sqlite" };
    let (mut servers, mut urls) = (Vec::new(), Vec::new());
    for rows in [SMALL, options.rows] {
        println!("xtask: filling {engine} with {rows} tasks");
        let name = format!("{engine}{rows}");
        let url = match postgres {
            Some(url) => {
                let sql = format!("CREATE DATABASE {name}");
                capture(Command::new("psql").args(["--dbname", url, "--command", &sql]))?;
                let (server, _) = url.rsplit_once('/').context("a URL without a database")?;
                format!("{server}/{name}")
            }
            None => format!("sqlite:{}", folder.join(format!("{name}.db")).display()),
        };
        let server =
            Server::start_berth(&programs.berth, folder, &name, &[format!("database.url={url}")])?;
        let instance_id = server.root()?.instance_id;
        let database = match url.strip_prefix("sqlite:") {
            Some(path) => Database::Sqlite(Path::new(path)),
            None => Database::Postgres(&url),
        };
        database.fill(&instance_id, rows, rows.min(100_000))?;
        servers.push((server, rows));
        urls.push(url);
    }
    let mut measured = Measured::new();
    for row in rows(options) {
        println!("xtask: {engine}: {}", row.title);
        let mut sizes = [Taken::default(), Taken::default()];
        for round in 0..=options.rounds {
            let asked: Vec<&(Server, u64)> =
                servers.iter().filter(|(_, rows)| *rows > SMALL || row.small).collect();
            let taken = ask(options, row, &asked, round, postgres.is_none())?;
            // The first only warms up.
            if round > 0 {
                for (taken, (_, rows)) in taken.into_iter().zip(asked) {
                    let size = &mut sizes[usize::from(*rows > SMALL)];
                    size.times.extend(taken.times);
                    size.cpu.extend(taken.cpu);
                }
            }
        }
        measured.push(sizes.map(Taken::figures));
    }
    if options.row.is_some() {
        return Ok(measured);
    }
    drop(servers);
    println!("xtask: {engine}: claims");
    measured.push(claims(options, programs, &urls)?);
    Ok(measured)
}

/// The rows that are asked for.
fn rows(options: &Options) -> impl Iterator<Item = &'static Row> {
    let part = options.row.as_deref().unwrap_or_default();
    ROWS.iter().filter(move |row| row.title.contains(part))
}

/// One round of a row.
fn ask(
    options: &Options,
    row: &Row,
    servers: &[&(Server, u64)],
    round: usize,
    remembers: bool,
) -> Result<Vec<Taken>> {
    // All rounds, the first that only warms up too, share the tasks of the small size.
    let share = SMALL / (u64::try_from(options.rounds)? + 1);
    let requests =
        if row.new && remembers { options.requests.min(share) } else { options.requests };
    let first = u64::try_from(round)? * requests;
    let asks: Vec<(&Server, Ask<'_>)> = servers
        .iter()
        .map(|(server, rows)| {
            let ask = |number: u64, instance_id: &str| (row.ask)(number, instance_id, *rows);
            (server, Box::new(ask) as Ask<'_>)
        })
        .collect();
    let times = one_by_one(&asks, first..first + requests)?;
    times
        .into_iter()
        .zip(&asks)
        .map(|(times, (server, ask))| {
            // Asked again, what has to be new is not.
            let cpu = if !row.new { vec![under_load(server, ask, requests)?] } else { Vec::new() };
            Ok(Taken { times, cpu })
        })
        .collect()
}

/// Claims at both sizes, in turn, by a program that is no server: another would not let it in.
fn claims(options: &Options, programs: &Programs, urls: &[String]) -> Result<[Option<Figures>; 2]> {
    let (rounds, requests) = (options.rounds.to_string(), options.requests.to_string());
    let mut command = Command::new(&programs.claim);
    let printed = capture(command.args(["bench", &rounds, &requests]).args(urls))?;
    let mut lines = printed.lines();
    let mut next = || -> Result<Option<Figures>> {
        let line = lines.next().context("too few figures")?;
        let (half, slow) = line.split_once(' ').context("a strange line of figures")?;
        Ok(Some(Figures { half: half.parse()?, slow: slow.parse()?, cpu: 0.0 }))
    };
    Ok([next()?, next()?])
}

impl Taken {
    /// Nothing when nothing was asked.
    fn figures(self) -> Option<Figures> {
        let Taken { mut times, cpu } = self;
        times.sort_by(f64::total_cmp);
        let place = |part: usize| times.get(times.len() * part / 100).copied();
        // Processor time is counted in hundredths of a second: only a mean of many rounds says something.
        let mean = cpu.iter().sum::<f64>() / cpu.len().max(1) as f64;
        Some(Figures { half: place(50)?, slow: place(99)?, cpu: mean })
    }
}

fn table(options: &Options, sqlite: &Measured, postgres: &Measured) -> String {
    let head = format!(
        "| | SQLite, {SMALL} | SQLite, {} | p99 | PostgreSQL, {SMALL} | PostgreSQL, {} | p99 | goal | met |\n\
         |---|---|---|---|---|---|---|---|---|\n",
        options.rows, options.rows
    );
    let claim = format!("A claim, one of {WAITING} tasks waiting");
    let titles = rows(options).map(|row| (row.title, row.goal));
    let titles = titles.chain([(claim.as_str(), Goal::Flat)]);
    let none = [None, None];
    let lines = titles.enumerate().filter_map(|(number, (title, goal))| {
        let (sqlite, postgres) = (sqlite.get(number), postgres.get(number));
        sqlite.or(postgres)?;
        let (sqlite, postgres) = (sqlite.unwrap_or(&none), postgres.unwrap_or(&none));
        let (goal, met) = goal.judge(sqlite, postgres);
        Some(format!("| {title} | {} | {} | {goal} | {met} |\n", cells(sqlite), cells(postgres)))
    });
    head + &lines.collect::<String>()
}

fn cells([small, large]: &[Option<Figures>; 2]) -> String {
    let cell = |figures: &Option<Figures>| match figures {
        Some(Figures { half, slow, cpu }) if *cpu > 0.0 => {
            format!("{half:.2} ms, p99 {slow:.2} ms, {cpu:.0} µs")
        }
        Some(Figures { half, slow, .. }) => format!("{half:.2} ms, p99 {slow:.2} ms"),
        None => "–".to_owned(),
    };
    let ratio = match (small, large) {
        (Some(small), Some(large)) => format!("{:.2}×", large.slow / small.slow),
        _ => "–".to_owned(),
    };
    format!("{} | {} | {ratio}", cell(small), cell(large))
}

impl Goal {
    /// In words, and whether both engines reach it.
    fn judge(
        self,
        sqlite: &[Option<Figures>; 2],
        postgres: &[Option<Figures>; 2],
    ) -> (String, &'static str) {
        let flat = [sqlite, postgres].iter().all(|sizes| match sizes {
            [Some(small), Some(large)] => large.slow <= small.slow * 1.2,
            _ => true,
        });
        let within = |limit: f64| {
            [sqlite, postgres]
                .iter()
                .all(|[_, large]| large.is_some_and(|large| large.half <= limit))
        };
        let (goal, met) = match self {
            Goal::Flat => ("p99 within 20 %".to_owned(), flat),
            Goal::Within(limit) => (format!("{limit:.0} ms"), within(limit)),
            Goal::Cpu(limit) => {
                let cpu = sqlite.iter().flatten().all(|figures| figures.cpu <= limit);
                (format!("p99 within 20 %, {limit:.0} µs on SQLite"), flat && cpu)
            }
        };
        (goal, if met { "yes" } else { "no" })
    }
}
