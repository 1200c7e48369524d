//! What can go wrong with the database, and which kind of answer it deserves.

/// The kinds that callers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DbErrorKind {
    /// A row that had to be there is not.
    NotFound,
    /// A unique or foreign key was violated: somebody else has the name, or still uses the row.
    Conflict,
    /// Lock, serialisation or connection trouble: the same transaction may succeed when repeated.
    Transient,
    /// A stored value is not what the column promises.
    Corrupt,
    /// Anything else: a broken statement, a full disk, a refused migration.
    Other,
}

/// An error of the database.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    #[error("cannot open database {url}: {reason}")]
    Open { url: String, reason: String },
    #[error("cannot migrate the database: {0}")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    #[error("no row for `{statement}`")]
    NotFound { statement: &'static str },
    #[error("cannot {action}: {source}")]
    Connection { action: &'static str, source: sqlx::Error },
    #[error("statement `{statement}` failed: {source}")]
    Statement { statement: &'static str, source: sqlx::Error },
    #[error("the database was opened for reading only")]
    ReadOnly,
    /// What was committed may be lost with the power; nothing more is written until a restart.
    #[error("the database cannot be written to its disk: {0}; restart when the disk is sound")]
    Disk(String),
    #[error("column `{column}` cannot be read: {reason}")]
    Column { column: String, reason: String },
}

impl DbError {
    /// A stored value that breaks its own rules; `column` names it.
    pub fn corrupt(column: &str, reason: impl std::fmt::Display) -> Self {
        Self::Column { column: column.to_owned(), reason: format!("{reason}") }
    }

    /// What kind of error this is.
    pub fn kind(&self) -> DbErrorKind {
        match self {
            Self::NotFound { .. } => DbErrorKind::NotFound,
            Self::Column { .. } => DbErrorKind::Corrupt,
            Self::Open { .. } | Self::Migrate(_) | Self::ReadOnly | Self::Disk(_) => {
                DbErrorKind::Other
            }
            Self::Connection { source, .. } | Self::Statement { source, .. } => kind_of(source),
        }
    }

    /// Whether the whole transaction may be tried again.
    pub fn is_transient(&self) -> bool {
        self.kind() == DbErrorKind::Transient
    }

    /// Whether a unique or foreign key was violated.
    pub fn is_conflict(&self) -> bool {
        self.kind() == DbErrorKind::Conflict
    }
}

fn kind_of(error: &sqlx::Error) -> DbErrorKind {
    match error {
        sqlx::Error::RowNotFound => DbErrorKind::NotFound,
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => DbErrorKind::Transient,
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => DbErrorKind::Corrupt,
        sqlx::Error::Database(database) => {
            if database.is_unique_violation() || database.is_foreign_key_violation() {
                DbErrorKind::Conflict
            } else if database.code().is_some_and(|code| is_transient_code(&code)) {
                DbErrorKind::Transient
            } else {
                DbErrorKind::Other
            }
        }
        _ => DbErrorKind::Other,
    }
}

/// SQLite result codes BUSY (5) and LOCKED (6) with their extended forms, and PostgreSQL's classes
/// 08 (connection), 40 (rollback: serialisation, deadlock), 53 (resources), 57P (shutdown) and
/// 55P03 (lock not available). The two never look alike: SQLite's are plain numbers below 10 000,
/// PostgreSQL's have five characters.
fn is_transient_code(code: &str) -> bool {
    if code.len() == 5 {
        return code.starts_with("08")
            || code.starts_with("40")
            || code.starts_with("53")
            || code.starts_with("57P")
            || code == "55P03";
    }
    code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6))
}

#[cfg(test)]
mod tests {
    use super::is_transient_code;

    #[test]
    fn transient_codes() {
        for code in ["5", "6", "261", "517", "40001", "40P01", "08006", "53300", "57P01", "55P03"] {
            assert!(is_transient_code(code), "{code}");
        }
        for code in ["1", "19", "2067", "787", "23505", "42601", "57014", ""] {
            assert!(!is_transient_code(code), "{code}");
        }
    }
}
