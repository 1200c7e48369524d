//! `cargo xtask bench tasks`.

use anyhow::{Context, Result, ensure};
use clap::Args;
use std::path::Path;
use std::process::Command;

use super::fill::{Database, WAITING, repository, task};
use super::server::Server;
use super::signed::{Operation, Signed};
use super::{machine, page};
use crate::services::Services;
use crate::shell::capture;
use crate::{setup, test};

/// The name of the table in the page.
const TABLE: &str = "tasks";

const SMALL: u64 = 1_000;

/// What is measured and how often.
#[derive(Args)]
pub(crate) struct Options {
    /// Rows of the large database.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Rounds; each asks both sizes, one after the other. The table shows the medians.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Requests of a round.
    #[arg(long, default_value_t = 400)]
    requests: u64,
    /// Measure the release build that is there.
    #[arg(long)]
    no_build: bool,
    /// Only print the table.
    #[arg(long)]
    dry_run: bool,
}

/// What one round, or the median of several, came to.
#[derive(Clone, Copy, Default)]
struct Figures {
    /// Milliseconds that half of the requests take longer than.
    half: f64,
    /// Milliseconds that one in a hundred takes longer than.
    slow: f64,
    /// Microseconds of the server's processor time per request.
    cpu: f64,
}

/// Measures, prints the table and writes it into the page.
pub(super) fn run(options: &Options) -> Result<()> {
    setup::install_packages(setup::Extent::Bench)?;
    let programs = Programs::build(!options.no_build)?;
    let folder = tempfile::Builder::new().prefix("berth-bench-").tempdir_in("/var/tmp")?;
    let (_postgres, url) = Services::postgres(folder.path())?;
    let sqlite = measure(options, &programs, folder.path(), None).context("SQLite")?;
    let postgres = measure(options, &programs, folder.path(), Some(&url)).context("PostgreSQL")?;
    let table = table(options, &sqlite, &postgres);
    println!("\n{table}");
    if options.dry_run || options.rows != 1_000_000 {
        return Ok(());
    }
    let text = format!(
        "{table}\nMedians of {} rounds of {} requests on {}. Made by\n`cargo xtask bench tasks`.\n",
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
    goal: Goal,
    ask: fn(u64, &str, u64) -> Operation,
}

/// What a row is held to.
#[derive(Clone, Copy)]
enum Goal {
    /// The slow ones of the large size are at most 20 % slower.
    Flat,
    /// And nothing takes longer than so many milliseconds, half of the time.
    Within(f64),
    /// And not more than so many microseconds of the server on SQLite.
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
        goal: Goal::Flat,
        ask: |_, instance, _| list(instance, 1, &[]),
    },
    Row {
        title: "… of one repository",
        small: true,
        goal: Goal::Flat,
        ask: |number, instance, _| list(instance, 1, &[("RepoId", repository(number % 100))]),
    },
    Row {
        title: "… of a status",
        small: true,
        goal: Goal::Flat,
        ask: |_, instance, _| list(instance, 1, &[("TaskStatus", "PENDING".to_owned())]),
    },
    Row {
        title: "… of a repository and a tag that have none",
        small: true,
        goal: Goal::Flat,
        ask: |_, instance, _| {
            list(instance, 1, &[("RepoId", repository(0)), ("Tag", "none".to_owned())])
        },
    },
    Row {
        title: "… page 334, row 10 000",
        small: false,
        goal: Goal::Within(5.0),
        ask: |_, instance, _| list(instance, 334, &[]),
    },
    Row {
        title: "… the page in the middle",
        small: false,
        goal: Goal::Within(50.0),
        ask: |_, instance, rows| list(instance, rows / 60, &[]),
    },
    Row {
        title: "… the last page",
        small: true,
        goal: Goal::Flat,
        ask: |_, instance, rows| list(instance, rows / 30, &[]),
    },
    Row {
        title: "GetArtifactBuildTask, the same task",
        small: true,
        goal: Goal::Cpu(100.0),
        ask: |_, instance, _| get(instance, 5),
    },
    Row {
        title: "GetArtifactBuildTask, always another",
        small: true,
        goal: Goal::Flat,
        ask: |number, instance, rows| get(instance, number * 7919 % rows),
    },
    Row {
        title: "ListRepoTag, page 1 (100 000 tags)",
        small: true,
        goal: Goal::Within(1.0),
        ask: |_, instance, _| tags(instance, 1),
    },
    Row {
        title: "ListRepoTag, page 3 000",
        small: false,
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
    for row in ROWS {
        println!("xtask: {engine}: {}", row.title);
        let mut rounds = [Vec::new(), Vec::new()];
        for round in 0..=options.rounds {
            for (figures, (server, rows)) in rounds.iter_mut().zip(&servers) {
                if *rows > SMALL || row.small {
                    let taken = ask(options, row, server, *rows, round)?;
                    // The first only warms up.
                    if round > 0 {
                        figures.push(taken);
                    }
                }
            }
        }
        measured.push(rounds.map(|rounds| median(&rounds)));
    }
    drop(servers);
    println!("xtask: {engine}: claims");
    measured.push(claims(options, programs, &urls)?);
    Ok(measured)
}

/// One round of a row.
fn ask(options: &Options, row: &Row, server: &Server, rows: u64, round: usize) -> Result<Figures> {
    let mut client = Signed::connect(server)?;
    let instance_id = client.instance_id().to_owned();
    let first = u64::try_from(round)? * options.requests;
    let requests: Vec<Vec<u8>> = (first..first + options.requests)
        .map(|number| client.request(&(row.ask)(number, &instance_id, rows)))
        .collect();
    let before = server.cpu()?;
    let mut times = Vec::with_capacity(requests.len());
    for request in &requests {
        let (body, took) = client.send(request)?;
        ensure!(body.contains("\"IsSuccess\":true"), "{body}");
        times.push(took);
    }
    let cpu = (server.cpu()? - before) / times.len() as f64 * 1e6;
    times.sort_by(f64::total_cmp);
    let place = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    Ok(Figures { half: place(50), slow: place(99), cpu })
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

fn median(rounds: &[Figures]) -> Option<Figures> {
    let middle = |value: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    // Processor time is counted in hundredths of a second: only the mean of many rounds says something.
    let cpu = rounds.iter().map(|figures| figures.cpu).sum::<f64>() / rounds.len() as f64;
    Some(Figures {
        half: middle(|figures| figures.half)?,
        slow: middle(|figures| figures.slow)?,
        cpu,
    })
}

fn table(options: &Options, sqlite: &Measured, postgres: &Measured) -> String {
    let head = format!(
        "| | SQLite, {SMALL} | SQLite, {} | p99 | PostgreSQL, {SMALL} | PostgreSQL, {} | p99 | goal | met |\n\
         |---|---|---|---|---|---|---|---|---|\n",
        options.rows, options.rows
    );
    let claim = format!("A claim, one of {WAITING} tasks waiting");
    let titles = ROWS.iter().map(|row| (row.title, row.goal));
    let titles = titles.chain([(claim.as_str(), Goal::Flat)]);
    let lines =
        titles.zip(sqlite.iter().zip(postgres)).map(|((title, goal), (sqlite, postgres))| {
            let (goal, met) = goal.judge(sqlite, postgres);
            format!("| {title} | {} | {} | {goal} | {met} |\n", cells(sqlite), cells(postgres))
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
