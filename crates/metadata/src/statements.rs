//! Every statement of every module, so that a test can prepare each on both engines.

use crate::{Engine, repos};

/// Module name and its statements that both engines know.
pub const COMMON: &[(&str, &[&str])] = &[
    ("access_key", repos::access_key::STATEMENTS),
    ("account", repos::account::STATEMENTS),
    ("blob", repos::blob::STATEMENTS),
    ("blob_holder", repos::blob_holder::STATEMENTS),
    ("build_rule", repos::build_rule::STATEMENTS),
    ("build_task", repos::build_task::STATEMENTS),
    ("collection", repos::collection::STATEMENTS),
    ("collection_audit", repos::collection_audit::STATEMENTS),
    ("converted_layer", repos::converted_layer::STATEMENTS),
    ("instance", repos::instance::STATEMENTS),
    ("lookup", repos::lookup::STATEMENTS),
    ("maintenance_task", repos::maintenance_task::STATEMENTS),
    ("manifest", repos::manifest::STATEMENTS),
    ("namespace", repos::namespace::STATEMENTS),
    ("object_removal", repos::object_removal::STATEMENTS),
    ("referrer", repos::referrer::STATEMENTS),
    ("repository", repos::repository::STATEMENTS),
    ("schedule", repos::schedule::STATEMENTS),
    ("scrub", repos::scrub::STATEMENTS),
    ("setting", repos::setting::STATEMENTS),
    ("subscription_result", repos::subscription_result::STATEMENTS),
    ("subscription_rule", repos::subscription_rule::STATEMENTS),
    ("subscription_task", repos::subscription_task::STATEMENTS),
    ("tag", repos::tag::STATEMENTS),
    ("task", repos::task::STATEMENTS),
    ("task_log", repos::task_log::STATEMENTS),
    ("upload", repos::upload::STATEMENTS),
    ("usage", repos::usage::STATEMENTS),
];

/// What only SQLite is asked.
pub const SQLITE: &[(&str, &[&str])] = &[
    ("collection", repos::collection::SQLITE_STATEMENTS),
    ("task", repos::task::SQLITE_STATEMENTS),
    ("usage", repos::usage::SQLITE_STATEMENTS),
];

/// What only PostgreSQL knows.
pub const POSTGRES: &[(&str, &[&str])] = &[
    ("instance", repos::instance::POSTGRES_STATEMENTS),
    ("blob", repos::blob::POSTGRES_STATEMENTS),
    ("collection", repos::collection::POSTGRES_STATEMENTS),
    ("object_removal", repos::object_removal::POSTGRES_STATEMENTS),
    ("repository", repos::repository::POSTGRES_STATEMENTS),
    ("task", repos::task::POSTGRES_STATEMENTS),
    ("usage", repos::usage::POSTGRES_STATEMENTS),
];

/// Every statement that the engine runs, with the name of its module.
pub fn of(engine: Engine) -> impl Iterator<Item = (&'static str, &'static str)> {
    let own = match engine {
        Engine::Sqlite => SQLITE,
        Engine::Postgres => POSTGRES,
    };
    let each = |&(module, texts): &(&'static str, &'static [&'static str])| {
        texts.iter().map(move |text| (module, *text))
    };
    COMMON.iter().flat_map(each).chain(own.iter().flat_map(each))
}
