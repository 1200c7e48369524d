//! The database handle.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::{Connection as _, PgPool, Pool, SqliteConnection, SqlitePool};

use crate::changes::Changes;
use crate::commit::Commit;
use crate::durable::GroupSync;
use crate::epochs::{Epochs, Stamp, Subject};
use crate::error::leaves_connection_sound;
use crate::loan::{Loan, Transactional};
use crate::notify::Wakeups;
use crate::presence::Presence;
use crate::session::Inner as SessionInner;
use crate::tables::readiness;
use crate::{DbError, Session, open};

/// Begins a transaction of PostgreSQL whose commit does not wait for the disk.
const RELAXED: &str = "BEGIN; SET LOCAL synchronous_commit = off";

/// Which database engine runs below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// What this process does with a database, and what others may do meanwhile. PostgreSQL keeps its
/// clients apart by itself; for a SQLite file it is a lock that every opener takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Reads and writes, as others may.
    #[default]
    Shared,
    /// Reads and writes, and on SQLite nobody else writes: see [`Db::is_sole_writer`].
    SoleWriter,
    /// Only reads, whoever writes; the schema must be there.
    ReadOnly,
}

/// How a database is opened.
#[derive(Debug, Clone, Copy)]
pub struct DbOptions {
    /// Connections to PostgreSQL, or reading connections to the SQLite file.
    pub max_connections: u32,
    pub access: Access,
}

impl Default for DbOptions {
    fn default() -> Self {
        Self { max_connections: 16, access: Access::default() }
    }
}

/// What a database was asked for so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DbCounts {
    pub statements: u64,
    pub commits: u64,
    /// How often the disk was waited for; 0 on PostgreSQL, which counts for itself.
    pub syncs: u64,
}

/// See [`DbCounts`].
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) statements: AtomicU64,
    pub(crate) commits: AtomicU64,
}

/// An open, migrated database. Cloning is cheap.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

struct Inner {
    pools: Pools,
    wakeups: Wakeups,
    epochs: Epochs,
    counters: Arc<Counters>,
    sole_writer: AtomicBool,
    /// See [`Db::tenure`].
    tenure: String,
    read_only: bool,
    /// Held while this process has a SQLite file open.
    lock: Mutex<Option<File>>,
}

enum Pools {
    Sqlite { writer: Option<Writer>, reader: SqlitePool },
    Postgres { pool: PgPool, presence: Arc<Presence> },
}

/// The writing side of a SQLite file.
struct Writer {
    pool: SqlitePool,
    sync: Arc<GroupSync>,
    /// A connection that does nothing but be open: see [`crate::log`].
    keeper: tokio::sync::Mutex<Option<SqliteConnection>>,
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
        let mut held = None;
        let pools = if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.starts_with(':') {
                let reason = "a SQLite database needs the path of a file".to_owned();
                return Err(DbError::Open { url: url.to_owned(), reason });
            }
            let opened = open::sqlite(Path::new(path), options).await?;
            held = opened.lock;
            let writer = opened.writer.map(|writer| Writer {
                pool: writer.pool,
                sync: Arc::new(GroupSync::new(move || writer.log.sync())),
                keeper: tokio::sync::Mutex::new(Some(writer.keeper)),
            });
            Pools::Sqlite { writer, reader: opened.reader }
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let (pool, presence) = open::postgres(url, options).await?;
            Pools::Postgres { pool, presence: Arc::new(presence) }
        } else {
            let reason = "use sqlite:/path/to/file.db or postgres://user@host/database".to_owned();
            return Err(DbError::Open { url: open::without_password(url), reason });
        };
        let sole = matches!(pools, Pools::Sqlite { .. }) && options.access == Access::SoleWriter;
        Ok(Self(Arc::new(Inner {
            pools,
            wakeups: Wakeups::default(),
            epochs: Epochs::default(),
            counters: Arc::default(),
            sole_writer: AtomicBool::new(sole),
            tenure: if sole { format!("{}/", berth_types::id::key()) } else { String::new() },
            read_only: options.access == Access::ReadOnly,
            lock: Mutex::new(held),
        })))
    }

    /// Whether nobody but this process writes to the database, for as long as it is open here: what
    /// is remembered with [`crate::Memory`] then needs no query.
    pub fn is_sole_writer(&self) -> bool {
        self.0.sole_writer.load(Ordering::Acquire)
    }

    /// A name of this opening of the database, with which its leases begin, where the lock proves that
    /// leases of any other opening are nobody's; empty where others may be at work.
    pub fn tenure(&self) -> &str {
        &self.0.tenure
    }

    pub(crate) fn stamp(&self, subject: Subject<'_>) -> Stamp {
        self.0.epochs.stamp(subject)
    }

    #[cfg(test)]
    pub(crate) fn unannounced_changes(&self) -> u64 {
        self.0.epochs.unannounced()
    }

    /// What makes commits durable; nothing on PostgreSQL, or when only reading was asked for.
    pub(crate) fn group_sync(&self) -> Option<&GroupSync> {
        match &self.0.pools {
            Pools::Sqlite { writer, .. } => writer.as_ref().map(|writer| writer.sync.as_ref()),
            Pools::Postgres { .. } => None,
        }
    }

    /// What was asked for through this value and its clones.
    pub fn counts(&self) -> DbCounts {
        let syncs = self.group_sync().map_or(0, GroupSync::syncs);
        DbCounts {
            statements: self.0.counters.statements.load(Ordering::Relaxed),
            commits: self.0.counters.commits.load(Ordering::Relaxed),
            syncs,
        }
    }

    /// A connection for reading; every statement sees what is committed when it starts. Writing
    /// through it fails on SQLite.
    pub async fn read(&self) -> Result<Session, DbError> {
        let inner = match &self.0.pools {
            Pools::Sqlite { reader, .. } => reader
                .acquire()
                .await
                .map(|connection| SessionInner::Sqlite(Loan::plain(connection))),
            Pools::Postgres { pool, presence } => {
                let connection = presence.watch(pool.acquire()).await;
                let session =
                    |connection| SessionInner::Postgres(Loan::plain(connection), presence.clone());
                connection.map(session)
            }
        };
        inner
            .map(|inner| Session::reading(inner, Arc::clone(&self.0.counters)))
            .map_err(|source| DbError::Connection { action: "get a connection to read", source })
    }

    /// A write transaction. On SQLite it is the only one of this process until it ends; on
    /// PostgreSQL it is READ COMMITTED: lock the rows that a decision rests on.
    pub async fn begin(&self) -> Result<Session, DbError> {
        self.begin_with(true).await
    }

    /// [`Db::begin`] for what costs nothing to lose: the commit does not wait for the disk. Everybody
    /// sees it at once and the end of this process does not undo it; a power failure may, until
    /// something else was committed.
    pub async fn begin_relaxed(&self) -> Result<Session, DbError> {
        self.begin_with(false).await
    }

    async fn begin_with(&self, durable: bool) -> Result<Session, DbError> {
        let failed = |source| DbError::Connection { action: "begin a transaction", source };
        let counters = Arc::clone(&self.0.counters);
        let mut commit =
            Commit { changes: Changes::default(), epochs: self.0.epochs.clone(), sync: None };
        let inner = match &self.0.pools {
            Pools::Sqlite { writer, .. } => {
                let writer = writer.as_ref().ok_or(DbError::ReadOnly)?;
                writer.sync.check()?;
                commit.sync = durable.then(|| Arc::clone(&writer.sync));
                begun(&writer.pool, "BEGIN IMMEDIATE").await.map(SessionInner::Sqlite)
            }
            Pools::Postgres { pool, presence } => {
                let begin = if durable { "BEGIN" } else { RELAXED };
                // In a task of its own: were the caller's future dropped between BEGIN and its
                // answer, the connection would have to be closed.
                let (pool, watching) = (pool.clone(), Arc::clone(presence));
                let begun =
                    tokio::spawn(async move { watching.watch(begun(&pool, begin)).await }).await;
                let begun = begun.unwrap_or(Err(sqlx::Error::WorkerCrashed));
                begun.map(|loan| SessionInner::Postgres(loan, Arc::clone(presence)))
            }
        };
        Ok(Session::writing(inner.map_err(failed)?, counters, commit))
    }

    /// The engine below.
    pub fn engine(&self) -> Engine {
        match self.0.pools {
            Pools::Sqlite { .. } => Engine::Sqlite,
            Pools::Postgres { .. } => Engine::Postgres,
        }
    }

    /// Whether the database answers, and takes writes when it was opened for them: it writes.
    ///
    /// # Errors
    /// Those of a write; the kind says what is wrong.
    pub async fn probe(&self) -> Result<(), DbError> {
        if matches!(self.0.pools, Pools::Sqlite { writer: None, .. }) || self.0.read_only {
            return self.read().await?.ping().await;
        }
        let mut session = self.begin_relaxed().await?;
        readiness::count(&mut session).await?;
        session.commit().await
    }

    /// Closes every connection, waiting for those in use.
    pub async fn close(&self) {
        self.0.sole_writer.store(false, Ordering::Release);
        self.0.wakeups.stop();
        match &self.0.pools {
            Pools::Sqlite { writer, reader } => {
                reader.close().await;
                if let Some(writer) = writer {
                    if let Some(keeper) = writer.keeper.lock().await.take()
                        && let Err(error) = keeper.close().await
                    {
                        tracing::debug!(%error, "a connection was not closed well");
                    }
                    writer.pool.close().await;
                }
            }
            Pools::Postgres { pool, .. } => pool.close().await,
        }
        self.0.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Wakes whoever waits for the channel, here and, best effort, in the other processes on the
    /// same PostgreSQL. Call it after the commit.
    pub fn notify(&self, channel: &'static str) {
        self.0.wakeups.wake(channel);
        if let Pools::Postgres { pool, .. } = &self.0.pools {
            Wakeups::tell_others(pool, channel);
        }
    }

    /// Returns when the channel was notified or the time is over, whichever is first. A
    /// notification may be missed and may come without a cause: always poll afterwards.
    pub async fn wait_notified(&self, channel: &'static str, at_most: Duration) {
        if let Pools::Postgres { pool, .. } = &self.0.pools {
            self.0.wakeups.listen(pool);
        }
        self.0.wakeups.wait(channel, at_most).await;
    }
}

/// A transaction on a connection of the pool.
async fn begun<DB: Transactional>(
    pool: &Pool<DB>,
    sql: &'static str,
) -> Result<Loan<DB>, sqlx::Error> {
    match Loan::begin(pool.acquire().await?, sql).await {
        // The connection was in the midst of something. It is closed by now.
        Err(error) if leaves_connection_sound(&error) => {
            Loan::begin(pool.acquire().await?, sql).await
        }
        begun => begun,
    }
}
