//! How each engine is opened.

use std::fs::File;
use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Executor as _, PgPool, SqliteConnection, SqlitePool};
use tracing::log::LevelFilter;

use crate::lock::LockError;
use crate::log::Log;
use crate::migrations::migrator;
use crate::presence::Presence;
use crate::{Access, DbError, DbOptions, Engine, lock};

/// How long a statement waits for another process that writes to the same SQLite file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a request waits for a connection, or for its turn to write.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// Of each reading connection, in KiB: beyond it the kernel's cache serves.
const READER_CACHE: &str = "-4096";
const SLOW_STATEMENT: Duration = Duration::from_secs(1);
/// Statements kept prepared on a connection: more than there are.
const STATEMENT_CACHE: usize = 512;
/// PostgreSQL plans a statement once, whatever is bound to it: pages say themselves that they are short,
/// and it would plan each again for every execution, the longer the larger a table is. Said once there is
/// a connection: poolers refuse it as an option of the connection itself.
const PLAN_ONCE: &str = "SET plan_cache_mode = force_generic_plan";

/// An open SQLite file.
pub(crate) struct Sqlite {
    /// `None` when only reading was asked for.
    pub(crate) writer: Option<SqliteWriter>,
    pub(crate) reader: SqlitePool,
    pub(crate) lock: Option<File>,
}

/// What writes to a SQLite file.
pub(crate) struct SqliteWriter {
    /// Of one connection.
    pub(crate) pool: SqlitePool,
    /// Keeps the log's file there, whichever connections of the pools are closed.
    pub(crate) keeper: SqliteConnection,
    pub(crate) log: Log,
}

/// Locks and opens a SQLite file.
pub(crate) async fn sqlite(path: &Path, options: DbOptions) -> Result<Sqlite, DbError> {
    let failed =
        |reason: String| DbError::Open { url: format!("sqlite:{}", path.display()), reason };
    let (owned, access) = (path.to_owned(), options.access);
    let prepared = tokio::task::spawn_blocking(move || prepare(&owned, access)).await;
    let lock = prepared.map_err(|error| failed(error.to_string()))?;
    let lock = lock.map_err(|error| failed(error.to_string()))?;
    let common = SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENT_CACHE)
        // Like PostgreSQL's.
        .pragma("case_sensitive_like", "ON")
        .log_statements(LevelFilter::Trace)
        .log_slow_statements(LevelFilter::Warn, SLOW_STATEMENT);
    // NORMAL keeps the file whole whatever happens; that a commit is durable is seen to by the
    // sync of the log that it waits for.
    let writing = common
        .clone()
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // The log keeps the space that it has.
        .pragma("journal_size_limit", "-1")
        .synchronous(SqliteSynchronous::Normal);
    let pool = || {
        SqlitePoolOptions::new()
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
    };
    let mut writer = None;
    if access != Access::ReadOnly {
        let pool = pool()
            .max_connections(1)
            .connect_with(writing)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let mode: Result<String, _> =
            sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&pool).await;
        if mode.map_err(|error| failed(error.to_string()))? != "wal" {
            return Err(failed("its file system cannot hold a write-ahead log".to_owned()));
        }
        migrator(Engine::Sqlite).run(&pool).await.map_err(DbError::Migrate)?;
        // Having read, it holds its lock on the file for as long as it is open.
        let mut keeper = common.connect().await.map_err(|error| failed(error.to_string()))?;
        let read = sqlx::query("SELECT count(*) FROM sqlite_schema").execute(&mut keeper).await;
        read.map_err(|error| failed(error.to_string()))?;
        let log = Log::open(path).map_err(|error| failed(format!("its log: {error}")))?;
        writer = Some(SqliteWriter { pool, keeper, log });
    }
    let reader = pool()
        .max_connections(options.max_connections.max(1))
        .connect_with(common.pragma("query_only", "ON").pragma("cache_size", READER_CACHE))
        .await
        .map_err(|error| failed(error.to_string()))?;
    Ok(Sqlite { writer, reader, lock })
}

fn prepare(path: &Path, access: Access) -> Result<Option<File>, LockError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(LockError::Folder)?;
    }
    lock::take(path, access)
}

/// The pool of a PostgreSQL database, and what looks for its server.
pub(crate) async fn postgres(url: &str, options: DbOptions) -> Result<(PgPool, Presence), DbError> {
    let failed = |error: sqlx::Error| DbError::Open {
        url: without_password(url),
        reason: error.to_string(),
    };
    let connect = PgConnectOptions::from_str(url)
        .map_err(failed)?
        .statement_cache_capacity(STATEMENT_CACHE)
        .log_statements(LevelFilter::Trace)
        .log_slow_statements(LevelFilter::Warn, SLOW_STATEMENT);
    let connect = match connect.get_application_name() {
        Some(_) => connect,
        None => connect.application_name("berth"),
    };
    let reading = options.access == Access::ReadOnly;
    let connect = match reading {
        true => connect.options([("default_transaction_read_only", "on")]),
        false => connect,
    };
    let pool = PgPoolOptions::new()
        .max_connections(options.max_connections.max(2))
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(|connection, _| {
            Box::pin(async { connection.execute(PLAN_ONCE).await.map(drop) })
        })
        .connect_with(connect.clone())
        .await
        .map_err(failed)?;
    if !reading {
        migrator(Engine::Postgres).run(&pool).await.map_err(DbError::Migrate)?;
    }
    Ok((pool, Presence::new(connect)))
}

/// The URL for messages.
pub(crate) fn without_password(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut url) => {
            if url.password().is_some() {
                // Fails only for URLs that cannot have a password, and this one has.
                let _ = url.set_password(Some("***"));
            }
            url.set_query(None);
            url.to_string()
        }
        Err(_) => "(not a URL)".to_owned(),
    }
}
