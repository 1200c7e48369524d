//! One row of an answer, read by column name.

use std::fmt::Display;
use std::str::FromStr;

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use crate::DbError;

/// One row. Integers are BIGINT (cast `SUM` to BIGINT: PostgreSQL makes it NUMERIC).
///
/// Every reader fails with [`DbError::Column`] when the column is missing, of another type or, for
/// those without `opt_`, NULL.
#[derive(Debug)]
pub struct Row(pub(crate) EngineRow);

pub(crate) enum EngineRow {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl std::fmt::Debug for EngineRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(row) => f.debug_tuple("Sqlite").field(&row.len()).finish(),
            Self::Postgres(row) => f.debug_tuple("Postgres").field(&row.len()).finish(),
        }
    }
}

macro_rules! reader {
    ($($name:ident, $opt_name:ident -> $type:ty, $sql:literal;)*) => {
        impl Row {
            $(
                #[doc = concat!("A ", $sql, ".")]
                pub fn $name(&self, column: &str) -> Result<$type, DbError> {
                    // Not read as `$type`: of a NULL, SQLite makes a zero or an empty text.
                    let value = self.$opt_name(column)?;
                    value.ok_or_else(|| DbError::corrupt(column, "it is NULL"))
                }

                #[doc = concat!("A ", $sql, " or NULL.")]
                pub fn $opt_name(&self, column: &str) -> Result<Option<$type>, DbError> {
                    match &self.0 {
                        EngineRow::Sqlite(row) => row.try_get::<Option<$type>, _>(column),
                        EngineRow::Postgres(row) => row.try_get::<Option<$type>, _>(column),
                    }
                    .map_err(|error| DbError::corrupt(column, error))
                }
            )*
        }
    };
}

reader! {
    int, opt_int -> i64, "BIGINT";
    text, opt_text -> String, "TEXT";
    boolean, opt_boolean -> bool, "BOOLEAN";
    bytes, opt_bytes -> Vec<u8>, "BLOB or BYTEA";
}

impl Row {
    /// A TEXT parsed into its type.
    pub fn parse<T>(&self, column: &str) -> Result<T, DbError>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.text(column)?.parse().map_err(|error| DbError::corrupt(column, error))
    }

    /// A TEXT parsed into its type, or NULL.
    pub fn opt_parse<T>(&self, column: &str) -> Result<Option<T>, DbError>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.opt_text(column)?
            .map(|text| text.parse().map_err(|error| DbError::corrupt(column, error)))
            .transpose()
    }
}
