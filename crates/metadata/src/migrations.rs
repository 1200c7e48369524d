//! The schema, embedded. Both engines have the same numbers; a test compares what they make.

use std::borrow::Cow;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use crate::Engine;

/// Number, name, text for SQLite, text for PostgreSQL.
pub(crate) const MIGRATIONS: &[(i64, &str, &str, &str)] = &[
    (
        1,
        "foundation",
        include_str!("../../../migrations/sqlite/0001_foundation.sql"),
        include_str!("../../../migrations/postgres/0001_foundation.sql"),
    ),
    (
        2,
        "data_plane",
        include_str!("../../../migrations/sqlite/0002_data_plane.sql"),
        include_str!("../../../migrations/postgres/0002_data_plane.sql"),
    ),
    (
        3,
        "queue",
        include_str!("../../../migrations/sqlite/0003_queue.sql"),
        include_str!("../../../migrations/postgres/0003_queue.sql"),
    ),
    (
        4,
        "counted_lists",
        include_str!("../../../migrations/sqlite/0004_counted_lists.sql"),
        include_str!("../../../migrations/postgres/0004_counted_lists.sql"),
    ),
    (
        5,
        "nonces",
        include_str!("../../../migrations/sqlite/0005_nonces.sql"),
        include_str!("../../../migrations/postgres/0005_nonces.sql"),
    ),
    (
        6,
        "subscription",
        include_str!("../../../migrations/sqlite/0006_subscription.sql"),
        include_str!("../../../migrations/postgres/0006_subscription.sql"),
    ),
    (
        7,
        "converted_layer_diff_id",
        include_str!("../../../migrations/sqlite/0007_converted_layer_diff_id.sql"),
        include_str!("../../../migrations/postgres/0007_converted_layer_diff_id.sql"),
    ),
    (
        8,
        "readiness",
        include_str!("../../../migrations/sqlite/0008_readiness.sql"),
        include_str!("../../../migrations/postgres/0008_readiness.sql"),
    ),
    (
        9,
        "list_parts",
        include_str!("../../../migrations/sqlite/0009_list_parts.sql"),
        include_str!("../../../migrations/postgres/0009_list_parts.sql"),
    ),
];

/// The migrator of the engine.
pub(crate) fn migrator(engine: Engine) -> Migrator {
    let migration = |&(version, name, sqlite, postgres): &(i64, &'static str, _, _)| {
        let sql: &'static str = match engine {
            Engine::Sqlite => sqlite,
            Engine::Postgres => postgres,
        };
        let kind = MigrationType::Simple;
        Migration::new(version, Cow::Borrowed(name), kind, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(MIGRATIONS.iter().map(migration).collect())
}
