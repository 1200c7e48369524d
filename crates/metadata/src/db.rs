//! The database handle.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::{PgPool, SqlitePool};

use crate::notify::Wakeups;
use crate::open;
use crate::session::Inner as SessionInner;
use crate::{DbError, Session};

/// Which database engine runs below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// How a database is opened.
#[derive(Debug, Clone, Copy)]
pub struct DbOptions {
    /// Connections to PostgreSQL, or reading connections to the SQLite file.
    pub max_connections: u32,
}

impl Default for DbOptions {
    fn default() -> Self {
        Self { max_connections: 16 }
    }
}

/// An open, migrated database. Cloning is cheap.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

struct Inner {
    pools: Pools,
    wakeups: Wakeups,
}

enum Pools {
    Sqlite { writer: SqlitePool, reader: SqlitePool },
    Postgres(PgPool),
}

impl Db {
    /// Opens `sqlite:/path/to/file.db` (made when missing) or `postgres://…` and brings its schema
    /// up to date.
    ///
    /// # Errors
    /// [`DbError::Open`] for a URL of another kind or a database that cannot be reached,
    /// [`DbError::Migrate`] when its schema is not one that this version knows.
    pub async fn open(url: &str) -> Result<Self, DbError> {
        Self::open_with(url, DbOptions::default()).await
    }

    /// [`Db::open`] with options.
    pub async fn open_with(url: &str, options: DbOptions) -> Result<Self, DbError> {
        let pools = if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.starts_with(':') {
                let reason = "a SQLite database needs the path of a file".to_owned();
                return Err(DbError::Open { url: url.to_owned(), reason });
            }
            let (writer, reader) = open::sqlite(Path::new(path), options).await?;
            Pools::Sqlite { writer, reader }
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Pools::Postgres(open::postgres(url, options).await?)
        } else {
            let reason = "use sqlite:/path/to/file.db or postgres://user@host/database".to_owned();
            return Err(DbError::Open { url: open::without_password(url), reason });
        };
        Ok(Self(Arc::new(Inner { pools, wakeups: Wakeups::default() })))
    }

    /// A connection for reading; every statement sees what is committed when it starts. Writing
    /// through it fails on SQLite.
    pub async fn read(&self) -> Result<Session, DbError> {
        let inner = match &self.0.pools {
            Pools::Sqlite { reader, .. } => reader.acquire().await.map(SessionInner::SqliteRead),
            Pools::Postgres(pool) => pool.acquire().await.map(SessionInner::PostgresRead),
        };
        inner
            .map(Session)
            .map_err(|source| DbError::Connection { action: "get a connection to read", source })
    }

    /// A write transaction. On SQLite it is the only one of this process until it ends; on
    /// PostgreSQL it is READ COMMITTED: lock the rows that a decision rests on.
    pub async fn begin(&self) -> Result<Session, DbError> {
        let failed = |source| DbError::Connection { action: "begin a transaction", source };
        match &self.0.pools {
            Pools::Sqlite { writer, .. } => {
                let begun = writer.begin_with("BEGIN IMMEDIATE").await;
                begun.map(|begun| Session(SessionInner::SqliteWrite(begun))).map_err(failed)
            }
            Pools::Postgres(pool) => {
                // In a task of its own: were the caller's future dropped between BEGIN and its
                // answer, the connection would go back to the pool with a transaction open.
                let pool = pool.clone();
                let begun = tokio::spawn(async move { pool.begin().await }).await;
                let begun = begun.unwrap_or(Err(sqlx::Error::WorkerCrashed));
                begun.map(|begun| Session(SessionInner::PostgresWrite(begun))).map_err(failed)
            }
        }
    }

    /// The engine below.
    pub fn engine(&self) -> Engine {
        match self.0.pools {
            Pools::Sqlite { .. } => Engine::Sqlite,
            Pools::Postgres(_) => Engine::Postgres,
        }
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), DbError> {
        self.read().await?.ping().await
    }

    /// Closes every connection, waiting for those in use.
    pub async fn close(&self) {
        self.0.wakeups.stop();
        match &self.0.pools {
            Pools::Sqlite { writer, reader } => {
                reader.close().await;
                writer.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }

    /// Wakes whoever waits for the channel, here and, best effort, in the other processes on the
    /// same PostgreSQL. Call it after the commit.
    pub fn notify(&self, channel: &'static str) {
        self.0.wakeups.wake(channel);
        if let Pools::Postgres(pool) = &self.0.pools {
            Wakeups::tell_others(pool, channel);
        }
    }

    /// Returns when the channel was notified or the time is over, whichever is first. A
    /// notification may be missed and may come without a cause: always poll afterwards.
    pub async fn wait_notified(&self, channel: &'static str, at_most: Duration) {
        if let Pools::Postgres(pool) = &self.0.pools {
            self.0.wakeups.listen(pool);
        }
        self.0.wakeups.wait(channel, at_most).await;
    }
}
