//! Rows by the million, written by the database itself: what would be there after years.

use anyhow::{Context, Result, ensure};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Rows that one transaction writes: the server at work waits for its turn no longer.
const PORTION: u64 = 100_000;

/// Repositories that the tasks are of, where there are many; the first has all the tags.
const REPOSITORIES: u64 = 100;

/// Where there are few tasks, so many that each has more than a page.
pub(super) const FEW_REPOSITORIES: u64 = 10;

/// Of this many tasks one waits, in a queue that no server works on.
pub(super) const WAITING: u64 = 10;

/// Where rows go.
pub(super) enum Database<'a> {
    Sqlite(&'a Path),
    Postgres(&'a str),
}

/// The id of a repository.
pub(super) fn repository(number: u64) -> String {
    format!("crr-{}", 1_000_000_000_000_000 + number)
}

/// The id of a task: they are spread over the index, as random ones are.
pub(super) fn task(number: u64) -> String {
    format!("i2a-{}", 1_000_000_000_000_000 + number * 6_700_417 % 10_000_000_019)
}

impl Database<'_> {
    /// Writes tasks with their builds, and tags.
    pub(super) fn fill(&self, instance_id: &str, tasks: u64, tags: u64) -> Result<()> {
        let repositories = if tasks > 1000 { REPOSITORIES } else { FEW_REPOSITORIES };
        self.run(&format!(
            "INSERT INTO namespace (namespace_id, instance_id, name, status, auto_create_repo, \
             default_repo_type, default_tag_immutability, created_at, modified_at) \
             VALUES ('crn-bench', '{instance_id}', 'bench', 'NORMAL', TRUE, 'PRIVATE', FALSE, 1, 1);\n\
             {} INSERT INTO repository (repo_id, instance_id, namespace_id, namespace_name, name, \
             status, repo_type, tag_immutability, summary, detail, build_type, created_at, \
             modified_at) SELECT 'crr-' || CAST(1000000000000000 + i AS TEXT), '{instance_id}', \
             'crn-bench', 'bench', 'app' || CAST(i AS TEXT), 'NORMAL', 'PRIVATE', FALSE, '', '', \
             'MANUAL', 1, 1 FROM n;\n\
             INSERT INTO manifest (repo_id, digest, media_type, config_digest, content, image_size, \
             layer_count, created_at) SELECT repo_id, '{DIGEST}', \
             'application/vnd.oci.image.manifest.v1+json', '{DIGEST}', {}, 1000, 3, 1 \
             FROM repository WHERE namespace_id = 'crn-bench';\n",
            self.numbers(0, repositories),
            self.no_bytes(),
        ))?;
        self.in_portions(tasks, |numbers| {
            format!(
                "{numbers} INSERT INTO task (task_id, queue, kind, payload, state, priority, run_at, \
                 tenant, share, turn, attempt, max_attempts, cancel_requested, progress, log_lines, created_at, \
                 started_at, finished_at) SELECT 'i2a-' || CAST(1000000000000000 \
                 + i * 6700417 % 10000000019 AS TEXT), \
                 CASE WHEN i % {WAITING} = 9 THEN 'bench' ELSE 'build' END, 'build', '{{}}', \
                 CASE WHEN i % {WAITING} = 9 THEN 'READY' WHEN i % 100 = 50 THEN 'FAILED' \
                 ELSE 'SUCCEEDED' END, 3, i, '{instance_id}', \
                 'crr-' || CAST(1000000000000000 + i / 10 % {repositories} AS TEXT), i, \
                 CASE WHEN i % {WAITING} = 9 THEN 0 ELSE 1 END, 5, FALSE, \
                 'null', 0, 1700000000000 + i * 1000, \
                 CASE WHEN i % {WAITING} = 9 THEN NULL ELSE 1700000000100 + i * 1000 END, \
                 CASE WHEN i % {WAITING} = 9 THEN NULL ELSE 1700000000900 + i * 1000 END FROM n;\n\
                 {numbers} INSERT INTO build_task (task_id, instance_id, repo_id, build_type, \
                 parameters, priority, source_tag, source_digest, source_size, source_layer_count, \
                 target_tag, target_digest, target_size, target_layer_count, created_at, \
                 listed_status, part) SELECT 'i2a-' || CAST(1000000000000000 \
                 + i * 6700417 % 10000000019 AS TEXT), '{instance_id}', \
                 'crr-' || CAST(1000000000000000 + i / 10 % {repositories} AS TEXT), \
                 'IMAGE_TO_ACCELERATED_IMAGE', '{{}}', 3, 'v' || CAST(i / 1000 % 500 AS TEXT), \
                 '{DIGEST}', 1000, 3, 'x_accelerated', '{DIGEST}', 1000, 3, \
                 1700000000000 + i * 1000, CASE WHEN i % {WAITING} = 9 THEN 'PENDING' \
                 WHEN i % 100 = 50 THEN 'FAILED' ELSE 'SUCCEEDED' END, i / 4096 FROM n;\n"
            )
        })?;
        self.in_portions(tags, |numbers| {
            format!(
                "{numbers} INSERT INTO tag (repo_id, name, digest, created_at, updated_at) \
                 SELECT '{}', 'v' || CAST(i AS TEXT), '{DIGEST}', 1700000000000 + i, \
                 1700000000000 + i * 7919 % 1000003 FROM n;\n",
                repository(0)
            )
        })?;
        match self {
            // What autovacuum does in time.
            Self::Postgres(_) => self.run("VACUUM ANALYZE;"),
            Self::Sqlite(_) => Ok(()),
        }
    }

    fn in_portions(&self, rows: u64, statements: impl Fn(&str) -> String) -> Result<()> {
        let mut from = 0;
        while from < rows {
            let to = (from + PORTION).min(rows);
            self.run(&format!("BEGIN;\n{}COMMIT;\n", statements(&self.numbers(from, to))))?;
            from = to;
        }
        Ok(())
    }

    /// `n(i)` has the numbers from `from` to before `to`.
    fn numbers(&self, from: u64, to: u64) -> String {
        match self {
            Self::Sqlite(_) => format!(
                "WITH RECURSIVE n(i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {to})"
            ),
            Self::Postgres(_) => {
                format!("WITH n(i) AS (SELECT generate_series({from}::BIGINT, {to} - 1))")
            }
        }
    }

    fn no_bytes(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "x''",
            Self::Postgres(_) => "''::BYTEA",
        }
    }

    fn run(&self, sql: &str) -> Result<()> {
        let mut command = match self {
            Self::Sqlite(file) => {
                let mut command = Command::new("sqlite3");
                command.args(["-bail", "-cmd", ".timeout 60000"]);
                command.args(["-cmd", "PRAGMA cache_size = -400000"]);
                command.args(["-cmd", "PRAGMA synchronous = OFF"]).arg(file);
                command
            }
            Self::Postgres(url) => {
                let mut command = Command::new("psql");
                command.args([
                    "--no-psqlrc",
                    "--quiet",
                    "--set",
                    "ON_ERROR_STOP=1",
                    "--dbname",
                    url,
                ]);
                command
            }
        };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let mut input = child.stdin.take().context("no way in")?;
        input.write_all(sql.as_bytes())?;
        drop(input);
        let status = child.wait()?;
        ensure!(status.success(), "the rows could not be written: {status}");
        Ok(())
    }
}

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
