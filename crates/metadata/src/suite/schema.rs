//! The schema and the statements against it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sqlx::{Column as _, Executor as _, SqlSafeStr as _, Statement as _, TypeInfo as _};

use super::places::{self, Place};
use crate::migrations::MIGRATIONS;
use crate::session::Inner;
use crate::{Db, Engine, Session, args, statements, tables};

/// What arguments and columns may be on PostgreSQL. Anything else (an INT4 literal, the NUMERIC of
/// a SUM) could not be bound from or read into a `Value`.
const TYPES: [&str; 4] = ["INT8", "TEXT", "BOOL", "BYTEA"];

pub(crate) async fn every_statement_prepares(place: &Place) {
    let engine = place.db.engine();
    let mut session = place.read().await;
    for (module, text) in statements::of(engine) {
        let problem = problem(&mut session, text).await;
        assert_eq!(problem, None, "a statement of {module} on {engine:?}: {text}");
    }
}

async fn problem(session: &mut Session, text: &'static str) -> Option<String> {
    match &mut session.inner {
        Inner::Sqlite(loan) => {
            let connection = loan.connection().expect("a connection");
            connection.prepare(text.into_sql_str()).await.err().map(|error| error.to_string())
        }
        Inner::Postgres(loan, _) => {
            let connection = loan.connection().expect("a connection");
            let statement = match connection.prepare(text.into_sql_str()).await {
                Ok(statement) => statement,
                Err(error) => return Some(error.to_string()),
            };
            let arguments = match statement.parameters() {
                Some(sqlx::Either::Left(arguments)) => arguments.to_vec(),
                _ => Vec::new(),
            };
            let arguments = arguments.iter().map(|argument| argument.name().to_owned());
            // A column called `one` is only counted, never read.
            let columns = statement.columns().iter().filter(|column| column.name() != "one");
            let columns = columns.map(|column| column.type_info().name().to_owned());
            let strange = arguments.chain(columns).find(|name| !TYPES.contains(&name.as_str()));
            strange.map(|name| format!("it takes or gives a {name}"))
        }
    }
}

pub(crate) async fn opening_again_keeps_everything(place: &Place) {
    let mut session = place.begin().await;
    tables::setting::put(&mut session, "a", "b").await.expect("put");
    session.commit().await.expect("commit");
    place.db.probe().await.expect("it takes writes");

    let again = Db::open(&place.url).await.expect("open again");
    let mut session = again.read().await.expect("read");
    let value = tables::setting::find(&mut session, "a").await.expect("find");
    assert_eq!(value.as_deref(), Some("b"));
    drop(session);
    again.close().await;
    let closed = again.probe().await.expect_err("it is closed");
    assert!(closed.is_transient(), "{closed}");
}

#[tokio::test]
async fn both_engines_have_the_same_tables() {
    let (sqlite, postgres) = (places::sqlite().await, places::postgres().await);
    let (of_sqlite, of_postgres) = (columns(&sqlite.db).await, columns(&postgres.db).await);
    assert!(of_sqlite.len() > 15, "{:?}", of_sqlite.keys());
    for (table, columns) in &of_sqlite {
        assert_eq!(Some(columns), of_postgres.get(table), "table {table}");
    }
    assert_eq!(of_sqlite.len(), of_postgres.len());
    assert_eq!(indexes(&sqlite.db).await, indexes(&postgres.db).await);
}

/// Column name, type, whether it may be NULL, by table.
type Tables = BTreeMap<String, Vec<(String, String, bool)>>;

async fn columns(db: &Db) -> Tables {
    let sql = match db.engine() {
        Engine::Sqlite => {
            "SELECT m.name AS table_name, c.name AS column_name, c.type AS type, \
             c.\"notnull\" = 0 AND c.pk = 0 AS nullable \
             FROM sqlite_master m JOIN pragma_table_info(m.name) c \
             WHERE m.type = 'table' AND m.name NOT LIKE '\\_sqlx%' ESCAPE '\\' \
             AND m.name NOT LIKE 'sqlite%' ORDER BY m.name, c.cid"
        }
        Engine::Postgres => {
            "SELECT table_name::TEXT, column_name::TEXT, data_type::TEXT AS type, \
             is_nullable = 'YES' AS nullable FROM information_schema.columns \
             WHERE table_schema = 'public' AND table_name NOT LIKE '\\_sqlx%' \
             ORDER BY table_name, ordinal_position"
        }
    };
    let mut session = db.read().await.expect("read");
    let mut tables = Tables::new();
    for row in session.fetch_all(sql, args![]).await.expect("columns") {
        let text = |column| row.text(column).expect(column);
        let kind = match text("type").to_uppercase().as_str() {
            "BYTEA" => "BLOB".to_owned(),
            other => other.to_owned(),
        };
        let column = (text("column_name"), kind, row.boolean("nullable").expect("nullable"));
        tables.entry(text("table_name")).or_default().push(column);
    }
    tables
}

async fn indexes(db: &Db) -> BTreeSet<String> {
    let sql = match db.engine() {
        Engine::Sqlite => {
            "SELECT name FROM sqlite_master WHERE type = 'index' AND name NOT LIKE 'sqlite%'"
        }
        Engine::Postgres => {
            "SELECT indexname::TEXT AS name FROM pg_indexes WHERE schemaname = 'public' \
             AND indexname NOT LIKE '%\\_pkey' AND indexname NOT LIKE '%\\_key'"
        }
    };
    let mut session = db.read().await.expect("read");
    let rows = session.fetch_all(sql, args![]).await.expect("indexes");
    rows.iter().map(|row| row.text("name").expect("name")).collect()
}

#[test]
fn every_migration_file_is_embedded() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations");
    let texts = |number: i64, name: &str, folder: &str| {
        let file = root.join(folder).join(format!("{number:04}_{name}.sql"));
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    };
    for (number, name, sqlite, postgres) in MIGRATIONS {
        assert_eq!(&texts(*number, name, "sqlite"), sqlite);
        assert_eq!(&texts(*number, name, "postgres"), postgres);
    }
    for folder in ["sqlite", "postgres"] {
        let files = std::fs::read_dir(root.join(folder)).expect("the folder of migrations");
        assert_eq!(files.count(), MIGRATIONS.len(), "files in migrations/{folder}");
    }
}

#[test]
fn every_statement_is_listed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tables");
    for entry in std::fs::read_dir(folder).expect("the folder of modules") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            continue;
        }
        let source = std::fs::read_to_string(&path).expect("a module");
        let module = path.file_stem().and_then(|stem| stem.to_str()).expect("a module name");
        // A public text is a name that others use, not a statement.
        let texts = source.lines().filter(|line| line.contains(": &str ="));
        let texts = texts.filter(|line| !line.starts_with("pub ")).count();
        let listed = [statements::COMMON, statements::SQLITE, statements::POSTGRES].concat();
        let listed = listed.iter().filter(|(name, _)| *name == module);
        let listed = listed.map(|(_, statements)| statements.len()).sum::<usize>();
        assert_eq!(texts, listed, "statements written and listed in {}", path.display());
    }
}
