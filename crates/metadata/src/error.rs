//! What can go wrong with the database, and which kind of answer it deserves.

/// The kinds that callers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DbErrorKind {
    /// A row that had to be there is not.
    NotFound,
    /// A unique or foreign key was violated: somebody else has the name, or still uses the row.
    Conflict,
    /// Lock or serialisation trouble: the same transaction may succeed when repeated.
    Transient,
    /// The database does not answer, or its disk does not: later the same may succeed.
    Unavailable,
    /// There is no space for what was to be written. Nothing of the transaction counts; once there
    /// is space, the same may succeed.
    Full,
    /// A stored value is not what the column promises.
    Corrupt,
    /// Anything else: a broken statement, a refused migration.
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
    /// Committed, and not acknowledged: there is no room to make it durable.
    #[error("no space is left for the database's log: {0}")]
    Full(String),
    /// Of this transaction, after an error that left it in an unknown state.
    #[error("an earlier statement of the transaction failed, and it can do nothing more")]
    Spoiled(DbErrorKind),
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
            Self::Open { .. } | Self::Migrate(_) | Self::ReadOnly => DbErrorKind::Other,
            Self::Disk(_) => DbErrorKind::Unavailable,
            Self::Full(_) => DbErrorKind::Full,
            Self::Spoiled(kind) => *kind,
            Self::Connection { source, .. } | Self::Statement { source, .. } => kind_of(source),
        }
    }

    /// Whether the whole transaction may be tried again.
    pub fn is_transient(&self) -> bool {
        use DbErrorKind::{Full, Transient, Unavailable};
        matches!(self.kind(), Transient | Unavailable | Full)
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
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed
        | sqlx::Error::InvalidSavePointStatement => DbErrorKind::Unavailable,
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => DbErrorKind::Corrupt,
        sqlx::Error::Database(database) => {
            if database.is_unique_violation() || database.is_foreign_key_violation() {
                DbErrorKind::Conflict
            } else {
                database.code().map_or(DbErrorKind::Other, |code| kind_of_code(&code))
            }
        }
        _ => DbErrorKind::Other,
    }
}

/// Whether nobody is there to answer: also a server of PostgreSQL that starts or stops (57P).
pub(crate) fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(database) => {
            database.code().is_some_and(|code| code.starts_with("57P"))
        }
        error => kind_of(error) == DbErrorKind::Unavailable,
    }
}

/// By a code of five characters for PostgreSQL and a number below 10 000 for SQLite, so that the two
/// never look alike.
///
/// PostgreSQL: `53100` is a full disk; the classes 08 (connection), 53 (resources), 57P (shutdown)
/// and 58 (system) pass; 40 (rollback: serialisation, deadlock) and 55P03 (lock not available) ask
/// for another try. SQLite: FULL (13) and IOERR_SHMSIZE (4874, the index of the log does not fit) are
/// a full disk, IOERR (10), NOMEM (7) and CANTOPEN (14) pass, BUSY (5) and LOCKED (6) ask for another
/// try, CORRUPT (11) and NOTADB (26) are damage. Extended codes have these in their low byte.
fn kind_of_code(code: &str) -> DbErrorKind {
    if code.len() == 5 {
        return match code {
            "53100" => DbErrorKind::Full,
            "55P03" => DbErrorKind::Transient,
            _ if code.starts_with("40") => DbErrorKind::Transient,
            _ if ["08", "53", "57P", "58"].iter().any(|class| code.starts_with(class)) => {
                DbErrorKind::Unavailable
            }
            _ => DbErrorKind::Other,
        };
    }
    let Ok(code) = code.parse::<u32>() else { return DbErrorKind::Other };
    match (code, code & 0xff) {
        (4874, _) | (_, 13) => DbErrorKind::Full,
        (_, 5 | 6) => DbErrorKind::Transient,
        (_, 7 | 10 | 14) => DbErrorKind::Unavailable,
        (_, 11 | 26) => DbErrorKind::Corrupt,
        _ => DbErrorKind::Other,
    }
}

/// Whether a statement that failed so left connection and transaction as they were, but for
/// PostgreSQL's transaction that can only be rolled back: it was refused for what it says. SQLite may
/// have undone the transaction by itself after every other error.
pub(crate) fn leaves_connection_sound(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::RowNotFound
        | sqlx::Error::TypeNotFound { .. }
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Encode(_)
        | sqlx::Error::Decode(_) => true,
        sqlx::Error::Database(database) => database.code().is_some_and(|code| is_refusal(&code)),
        _ => false,
    }
}

/// SQLite's ERROR (1), CONSTRAINT (19), MISMATCH (20) and RANGE (25); of PostgreSQL all but the
/// classes of trouble with connection, resources and server.
fn is_refusal(code: &str) -> bool {
    if code.len() == 5 {
        return !["08", "53", "57P", "58", "XX"].iter().any(|class| code.starts_with(class));
    }
    code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 1 | 19 | 20 | 25))
}

#[cfg(test)]
mod tests {
    use super::{DbErrorKind, is_refusal, kind_of_code};

    #[test]
    fn codes_have_kinds() {
        use DbErrorKind::{Corrupt, Full, Other, Transient, Unavailable};
        for (kind, codes) in [
            (Transient, vec!["5", "6", "261", "517", "40001", "40P01", "55P03"]),
            (Unavailable, vec!["7", "10", "778", "1034", "14", "08006", "53300", "57P01", "58030"]),
            (Full, vec!["13", "4874", "53100"]),
            (Corrupt, vec!["11", "267", "26"]),
            (Other, vec!["1", "19", "2067", "787", "23505", "42601", "57014", ""]),
        ] {
            for code in codes {
                assert_eq!(kind_of_code(code), kind, "{code}");
            }
        }
    }

    #[test]
    fn what_was_refused_leaves_the_connection_sound() {
        for code in ["1", "19", "2067", "787", "23505", "42601", "57014", "40001"] {
            assert!(is_refusal(code), "{code}");
        }
        for code in ["5", "7", "10", "13", "14", "4874", "53100", "08006", "57P01", "XX000", ""] {
            assert!(!is_refusal(code), "{code}");
        }
    }
}
