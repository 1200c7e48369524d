//! The commit of a write transaction: the database's own, what makes it durable, and who hears of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::DbError;
use crate::changes::Changes;
use crate::db::Counters;
use crate::durable::GroupSync;
use crate::epochs::Epochs;
use crate::session::Inner;

/// What the commit of a write transaction does besides.
pub(crate) struct Commit {
    pub(crate) changes: Changes,
    pub(crate) epochs: Epochs,
    /// What makes it durable, when the database's own COMMIT does not.
    pub(crate) sync: Option<Arc<GroupSync>>,
}

impl Commit {
    pub(crate) async fn run(self, inner: Inner, counters: &Counters) -> Result<(), DbError> {
        let committed = match inner {
            Inner::Sqlite(loan) => loan.commit().await,
            Inner::Postgres(loan, presence) => presence.watch(loan.commit()).await,
        };
        // Also when the COMMIT failed: it may have happened all the same.
        self.changes.publish(&self.epochs);
        committed.map_err(uncommitted)?;
        counters.commits.fetch_add(1, Ordering::Relaxed);
        match self.sync {
            Some(sync) => sync.wait().await,
            None => Ok(()),
        }
    }
}

pub(crate) fn uncommitted(source: sqlx::Error) -> DbError {
    DbError::Connection { action: "commit the transaction", source }
}
