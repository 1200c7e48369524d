//! A connection or transaction, and the running of statements on it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sqlx::postgres::Postgres;
use sqlx::sqlite::Sqlite;
use sqlx::{Connection as _, Executor as _};

use crate::commit::{Commit, uncommitted};
use crate::db::Counters;
use crate::loan::Loan;
use crate::presence::Presence;
use crate::row::EngineRow;
use crate::{Change, DbError, DbErrorKind, Engine, Row, Value};

/// Where statements run: a connection for reading ([`crate::Db::read`]) or a write transaction
/// ([`crate::Db::begin`]), which is rolled back when dropped without [`Session::commit`].
///
/// After an error that leaves the transaction in an unknown state, such as a full disk, nothing more
/// runs in it: everything later is refused with the kind of that error.
pub struct Session {
    pub(crate) inner: Inner,
    counters: Arc<Counters>,
    /// Of a write transaction.
    commit: Option<Commit>,
    /// Why nothing more can be done.
    spoiled: Option<DbErrorKind>,
}

pub(crate) enum Inner {
    Sqlite(Loan<Sqlite>),
    Postgres(Loan<Postgres>, Arc<Presence>),
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

/// One body for both engines; `$wrap` becomes the row constructor of the engine. Gives the body's
/// result, with an error when the server is away.
macro_rules! on_connection {
    ($session:expr, |$connection:ident, $wrap:ident| $body:expr) => {
        match &mut $session.inner {
            Inner::Sqlite(loan) => {
                let $wrap = |row| Row(EngineRow::Sqlite(row));
                let work = async {
                    let $connection = loan.connection()?;
                    $body
                };
                work.await
            }
            Inner::Postgres(loan, presence) => {
                let $wrap = |row| Row(EngineRow::Postgres(row));
                let work = async {
                    let $connection = loan.connection()?;
                    $body
                };
                presence.watch(work).await
            }
        }
    };
}

impl Session {
    pub(crate) fn reading(inner: Inner, counters: Arc<Counters>) -> Self {
        Self { inner, counters, commit: None, spoiled: None }
    }

    pub(crate) fn writing(inner: Inner, counters: Arc<Counters>, commit: Commit) -> Self {
        Self { inner, counters, commit: Some(commit), spoiled: None }
    }

    /// Which engine runs here, for the few statements that differ.
    pub fn engine(&self) -> Engine {
        match self.inner {
            Inner::Sqlite(_) => Engine::Sqlite,
            Inner::Postgres(..) => Engine::Postgres,
        }
    }

    /// Runs a statement and tells how many rows it changed.
    pub async fn execute(&mut self, sql: &'static str, args: Vec<Value>) -> Result<u64, DbError> {
        self.note(sql)?;
        let done = on_connection!(self, |connection, _wrap| {
            let done = connection.execute(query!(sql, args)).await;
            done.map(|done| done.rows_affected())
        });
        done.map_err(|source| self.failed(sql, source))
    }

    /// All rows of the answer, in memory: bound them in the statement.
    pub async fn fetch_all(
        &mut self,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Result<Vec<Row>, DbError> {
        self.note(sql)?;
        let rows = on_connection!(self, |connection, wrap| {
            let rows = connection.fetch_all(query!(sql, args)).await;
            rows.map(|rows| rows.into_iter().map(wrap).collect())
        });
        rows.map_err(|source| self.failed(sql, source))
    }

    /// The first row, if there is one.
    pub async fn fetch_optional(
        &mut self,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Result<Option<Row>, DbError> {
        self.note(sql)?;
        let row = on_connection!(self, |connection, wrap| {
            let row = connection.fetch_optional(query!(sql, args)).await;
            row.map(|row| row.map(wrap))
        });
        row.map_err(|source| self.failed(sql, source))
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
        if let Some(commit) = &mut self.commit {
            commit.changes.touch(change);
        }
    }

    /// Sees a statement before it runs.
    fn note(&mut self, sql: &str) -> Result<(), DbError> {
        if let Some(kind) = self.spoiled {
            return Err(DbError::Spoiled(kind));
        }
        self.counters.statements.fetch_add(1, Ordering::Relaxed);
        if let Some(commit) = &mut self.commit {
            commit.changes.note(sql);
        }
        Ok(())
    }

    fn failed(&mut self, statement: &'static str, source: sqlx::Error) -> DbError {
        let survived = match &mut self.inner {
            Inner::Sqlite(loan) => loan.survives(&source),
            Inner::Postgres(loan, _) => loan.survives(&source),
        };
        let error = DbError::Statement { statement, source };
        if !survived {
            self.spoiled = Some(error.kind());
        }
        error
    }

    /// Makes the transaction durable. Nothing to do for a reading session. It goes on when the
    /// caller is dropped.
    pub async fn commit(self) -> Result<(), DbError> {
        let Self { inner, counters, commit, spoiled } = self;
        let Some(commit) = commit else { return Ok(()) };
        if let Some(kind) = spoiled {
            return Err(DbError::Spoiled(kind));
        }
        let done = tokio::spawn(async move { commit.run(inner, &counters).await }).await;
        done.unwrap_or_else(|_| Err(uncommitted(sqlx::Error::WorkerCrashed)))
    }

    pub(crate) async fn ping(&mut self) -> Result<(), DbError> {
        let answer = on_connection!(self, |connection, _wrap| connection.ping().await);
        answer.map_err(|source| self.failed("ping", source))
    }
}
