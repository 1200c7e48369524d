//! The database: SQLite or PostgreSQL behind one set of statements.
//!
//! Owns the connections, transactions, migrations and every SQL text of Berth. Must not know
//! images, HTTP or tasks beyond their rows: it stores nouns, others give them meaning.
//!
//! Entry points: [`Db::open`], [`Db::read`], [`Db::begin`], [`Session`], [`args!`], and one module per
//! noun in [`tables`]. A statement is one `const` text for both engines, listed in its module's
//! `STATEMENTS`, and [`statements`] hands all of them to the test that prepares each one.
//!
//! What a transaction changes it says with [`Session::touch`], so that [`Memory`] can remember rows
//! without ever giving back one that is older than an acknowledged commit.

mod changes;
mod commit;
mod db;
mod durable;
mod epochs;
mod error;
mod loan;
mod lock;
mod log;
mod memory;
mod migrations;
mod notify;
mod open;
mod page;
mod presence;
mod row;
mod session;
pub mod statements;
pub mod tables;
pub mod time;
mod value;

pub use changes::Change;
pub use db::{Access, Db, DbCounts, DbOptions, Engine};
pub use epochs::{Stamp, Subject};
pub use error::{DbError, DbErrorKind};
pub use memory::Memory;
pub use page::{Page, contains_pattern};
pub use row::Row;
pub use session::Session;
pub use value::Value;

#[cfg(test)]
mod suite;
