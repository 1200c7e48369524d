//! A connection on loan from its pool.
//!
//! Only a connection whose state is known goes back. When a statement, BEGIN, COMMIT or ROLLBACK
//! failed otherwise than by refusing what was asked for, the transaction may be open, undone or
//! done, and the next borrower would run its statements in the midst of it: such a connection is
//! closed, which undoes what was not committed, and the pool opens another.

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::Postgres;
use sqlx::sqlite::Sqlite;
use sqlx::{Database, Error, Executor as _};
use tokio::time::timeout;

use crate::error::leaves_connection_sound;

/// How long undoing a transaction may take before its connection is closed instead.
const UNDOING: Duration = Duration::from_secs(5);

/// A database engine whose transactions are begun and ended here.
pub(crate) trait Transactional: Database {
    fn run(
        connection: &mut Self::Connection,
        sql: &'static str,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

impl Transactional for Sqlite {
    async fn run(connection: &mut Self::Connection, sql: &'static str) -> Result<(), Error> {
        connection.execute(sqlx::query(sql)).await.map(drop)
    }
}

impl Transactional for Postgres {
    async fn run(connection: &mut Self::Connection, sql: &'static str) -> Result<(), Error> {
        connection.execute(sqlx::raw_sql(sql)).await.map(drop)
    }
}

pub(crate) struct Loan<DB: Transactional> {
    /// Taken when the loan ends.
    connection: Option<PoolConnection<DB>>,
    in_transaction: bool,
    /// What state it is in is known.
    sound: bool,
}

impl<DB: Transactional> Loan<DB> {
    /// A connection whose statements each stand alone.
    pub(crate) fn plain(connection: PoolConnection<DB>) -> Self {
        Self { connection: Some(connection), in_transaction: false, sound: true }
    }

    /// Opens a transaction, which is rolled back when the loan ends without a commit.
    pub(crate) async fn begin(
        connection: PoolConnection<DB>,
        sql: &'static str,
    ) -> Result<Self, Error> {
        // Unknown until there is an answer, also when nobody waits for it any more.
        let mut loan = Self { connection: Some(connection), in_transaction: true, sound: false };
        DB::run(loan.connection()?, sql).await?;
        loan.sound = true;
        Ok(loan)
    }

    pub(crate) async fn commit(mut self) -> Result<(), Error> {
        if !self.sound {
            return Err(Error::WorkerCrashed);
        }
        self.sound = false;
        DB::run(self.connection()?, "COMMIT").await?;
        self.in_transaction = false;
        self.sound = true;
        Ok(())
    }

    /// # Errors
    /// Only after the end of the loan.
    pub(crate) fn connection(&mut self) -> Result<&mut DB::Connection, Error> {
        self.connection.as_deref_mut().ok_or(Error::PoolClosed)
    }

    /// Sees an error of a statement; `false` when the connection can do nothing more.
    pub(crate) fn survives(&mut self, error: &Error) -> bool {
        self.sound &= leaves_connection_sound(error);
        self.sound
    }
}

impl<DB: Transactional> Drop for Loan<DB> {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if !self.sound {
            tracing::debug!("a database connection in an unknown state is closed");
            connection.close_on_drop();
            return;
        }
        if !self.in_transaction {
            return;
        }
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(async move {
                    let undone = timeout(UNDOING, DB::run(&mut connection, "ROLLBACK")).await;
                    if !matches!(undone, Ok(Ok(()))) {
                        connection.close_on_drop();
                    }
                });
            }
            Err(_) => connection.close_on_drop(),
        }
    }
}
