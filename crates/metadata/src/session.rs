//! A connection or transaction, and the running of statements on it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sqlx::pool::PoolConnection;
use sqlx::postgres::Postgres;
use sqlx::sqlite::Sqlite;
use sqlx::{Connection as _, Executor as _, Transaction};

use crate::changes::{Changes, Epochs};
use crate::db::Counters;
use crate::durable::GroupSync;
use crate::row::EngineRow;
use crate::{Change, DbError, Engine, Row, Value};

/// Where statements run: a connection for reading ([`crate::Db::read`]) or a write transaction
/// ([`crate::Db::begin`]), which is rolled back when dropped without [`Session::commit`].
pub struct Session {
    pub(crate) inner: Inner,
    counters: Arc<Counters>,
    /// Of a write transaction.
    ending: Option<Ending>,
}

/// What the commit of a write transaction does besides.
pub(crate) struct Ending {
    pub(crate) changes: Changes,
    pub(crate) epochs: Epochs,
    /// What makes it durable, when the database's own COMMIT does not.
    pub(crate) sync: Option<Arc<GroupSync>>,
}

pub(crate) enum Inner {
    SqliteRead(PoolConnection<Sqlite>),
    SqliteWrite(Transaction<'static, Sqlite>),
    PostgresRead(PoolConnection<Postgres>),
    PostgresWrite(Transaction<'static, Postgres>),
}

/// A query of the connection's own type with the arguments bound.
macro_rules! query {
    ($sql:expr, $args:expr) => {{
        let mut query = sqlx::query($sql);
        for value in $args {
            query = match value {
                Value::Int(value) => query.bind(value),
                Value::Text(value) => query.bind(value),
                Value::Bool(value) => query.bind(value),
                Value::Bytes(value) => query.bind(value),
            };
        }
        query
    }};
}

/// One body for the four kinds of connection; `$wrap` becomes the row constructor of the engine.
macro_rules! on_connection {
    ($session:expr, |$connection:ident, $wrap:ident| $body:expr) => {
        match &mut $session.inner {
            Inner::SqliteRead(connection) => {
                let $connection = &mut **connection;
                let $wrap = |row| Row(EngineRow::Sqlite(row));
                $body
            }
            Inner::SqliteWrite(transaction) => {
                let $connection = &mut **transaction;
                let $wrap = |row| Row(EngineRow::Sqlite(row));
                $body
            }
            Inner::PostgresRead(connection) => {
                let $connection = &mut **connection;
                let $wrap = |row| Row(EngineRow::Postgres(row));
                $body
            }
            Inner::PostgresWrite(transaction) => {
                let $connection = &mut **transaction;
                let $wrap = |row| Row(EngineRow::Postgres(row));
                $body
            }
        }
    };
}

impl Ending {
    async fn commit(self, inner: Inner, counters: &Counters) -> Result<(), DbError> {
        let committed = match inner {
            Inner::SqliteRead(_) | Inner::PostgresRead(_) => Ok(()),
            Inner::SqliteWrite(transaction) => transaction.commit().await,
            Inner::PostgresWrite(transaction) => transaction.commit().await,
        };
        // Also when the COMMIT failed: it may have happened all the same.
        self.changes.publish(&self.epochs);
        committed.map_err(uncommitted)?;
        counters.commits.fetch_add(1, Ordering::Relaxed);
        match self.sync {
            Some(sync) => sync.wait().await.map_err(DbError::Disk),
            None => Ok(()),
        }
    }
}

fn uncommitted(source: sqlx::Error) -> DbError {
    DbError::Connection { action: "commit the transaction", source }
}

impl Session {
    pub(crate) fn reading(inner: Inner, counters: Arc<Counters>) -> Self {
        Self { inner, counters, ending: None }
    }

    pub(crate) fn writing(inner: Inner, counters: Arc<Counters>, ending: Ending) -> Self {
        Self { inner, counters, ending: Some(ending) }
    }

    /// Which engine runs here, for the few statements that differ.
    pub fn engine(&self) -> Engine {
        match self.inner {
            Inner::SqliteRead(_) | Inner::SqliteWrite(_) => Engine::Sqlite,
            Inner::PostgresRead(_) | Inner::PostgresWrite(_) => Engine::Postgres,
        }
    }

    /// Runs a statement and tells how many rows it changed.
    pub async fn execute(&mut self, sql: &'static str, args: Vec<Value>) -> Result<u64, DbError> {
        self.note(sql);
        let failed = |source| DbError::Statement { statement: sql, source };
        match &mut self.inner {
            Inner::SqliteRead(connection) => {
                let done = query!(sql, args).execute(&mut **connection).await;
                done.map(|done| done.rows_affected()).map_err(failed)
            }
            Inner::SqliteWrite(transaction) => {
                let done = query!(sql, args).execute(&mut **transaction).await;
                done.map(|done| done.rows_affected()).map_err(failed)
            }
            Inner::PostgresRead(connection) => {
                let done = query!(sql, args).execute(&mut **connection).await;
                done.map(|done| done.rows_affected()).map_err(failed)
            }
            Inner::PostgresWrite(transaction) => {
                let done = query!(sql, args).execute(&mut **transaction).await;
                done.map(|done| done.rows_affected()).map_err(failed)
            }
        }
    }

    /// All rows of the answer, in memory: bound them in the statement.
    pub async fn fetch_all(
        &mut self,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Result<Vec<Row>, DbError> {
        self.note(sql);
        on_connection!(self, |connection, wrap| {
            let rows = connection.fetch_all(query!(sql, args)).await;
            rows.map(|rows| rows.into_iter().map(wrap).collect())
        })
        .map_err(|source| DbError::Statement { statement: sql, source })
    }

    /// The first row, if there is one.
    pub async fn fetch_optional(
        &mut self,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Result<Option<Row>, DbError> {
        self.note(sql);
        on_connection!(self, |connection, wrap| {
            let row = connection.fetch_optional(query!(sql, args)).await;
            row.map(|row| row.map(wrap))
        })
        .map_err(|source| DbError::Statement { statement: sql, source })
    }

    /// The first row.
    ///
    /// # Errors
    /// [`DbError::NotFound`] when there is none.
    pub async fn fetch_one(&mut self, sql: &'static str, args: Vec<Value>) -> Result<Row, DbError> {
        let row = self.fetch_optional(sql, args).await?;
        row.ok_or(DbError::NotFound { statement: sql })
    }

    /// Says what this transaction changes: whoever remembers it ([`crate::Memory`]) has forgotten it
    /// when [`Session::commit`] returns.
    pub fn touch(&mut self, change: Change<'_>) {
        if let Some(ending) = &mut self.ending {
            ending.changes.touch(change);
        }
    }

    fn note(&mut self, sql: &str) {
        self.counters.statements.fetch_add(1, Ordering::Relaxed);
        if let Some(ending) = &mut self.ending {
            ending.changes.note(sql);
        }
    }

    /// Makes the transaction durable. Nothing to do for a reading session. It goes on when the
    /// caller is dropped.
    pub async fn commit(self) -> Result<(), DbError> {
        let Self { inner, counters, ending } = self;
        let Some(ending) = ending else { return Ok(()) };
        let done = tokio::spawn(async move { ending.commit(inner, &counters).await }).await;
        done.unwrap_or_else(|_| Err(uncommitted(sqlx::Error::WorkerCrashed)))
    }

    pub(crate) async fn ping(&mut self) -> Result<(), DbError> {
        on_connection!(self, |connection, _wrap| connection.ping().await)
            .map_err(|source| DbError::Connection { action: "reach the database", source })
    }
}
