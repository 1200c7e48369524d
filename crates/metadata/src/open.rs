//! How each engine is opened.

use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, PgPool, SqlitePool};
use tracing::log::LevelFilter;

use crate::migrations::migrator;
use crate::{DbError, DbOptions, Engine};

/// How long a statement waits for another process that writes to the same SQLite file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a request waits for a connection, or for its turn to write.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
const SLOW_STATEMENT: Duration = Duration::from_secs(1);
/// Statements kept prepared on a connection: more than there are.
const STATEMENT_CACHE: usize = 512;

/// The two pools of a SQLite file: one connection that writes, some that read.
pub(crate) async fn sqlite(
    path: &Path,
    options: DbOptions,
) -> Result<(SqlitePool, SqlitePool), DbError> {
    let failed =
        |reason: String| DbError::Open { url: format!("sqlite:{}", path.display()), reason };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let folder = folder.to_owned();
        let made = tokio::task::spawn_blocking(move || std::fs::create_dir_all(&folder)).await;
        made.map_err(|error| failed(error.to_string()))?
            .map_err(|error| failed(format!("its folder cannot be made: {error}")))?;
    }
    let common = SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENT_CACHE)
        // Like PostgreSQL's.
        .pragma("case_sensitive_like", "ON")
        .log_statements(LevelFilter::Trace)
        .log_slow_statements(LevelFilter::Warn, SLOW_STATEMENT);
    let writing = common
        .clone()
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let pool = || {
        SqlitePoolOptions::new()
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
    };
    let writer = pool()
        .max_connections(1)
        .connect_with(writing)
        .await
        .map_err(|error| failed(error.to_string()))?;
    migrator(Engine::Sqlite).run(&writer).await.map_err(DbError::Migrate)?;
    let reader = pool()
        .max_connections(options.max_connections.max(1))
        .connect_with(common.pragma("query_only", "ON"))
        .await
        .map_err(|error| failed(error.to_string()))?;
    Ok((writer, reader))
}

/// The pool of a PostgreSQL database.
pub(crate) async fn postgres(url: &str, options: DbOptions) -> Result<PgPool, DbError> {
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
    let pool = PgPoolOptions::new()
        .max_connections(options.max_connections.max(2))
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(connect)
        .await
        .map_err(failed)?;
    migrator(Engine::Postgres).run(&pool).await.map_err(DbError::Migrate)?;
    Ok(pool)
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
