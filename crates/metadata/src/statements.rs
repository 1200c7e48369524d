//! Every statement of every module, so that a test can prepare each on both engines.

use crate::{Engine, tables};

/// Module name and its statements that both engines know.
pub const COMMON: &[(&str, &[&str])] = &[
    ("access_key", tables::access_key::STATEMENTS),
    ("account", tables::account::STATEMENTS),
    ("blob", tables::blob::STATEMENTS),
    ("blob_holder", tables::blob_holder::STATEMENTS),
    ("artifact_build_rule", tables::artifact_build_rule::STATEMENTS),
    ("artifact_build_task", tables::artifact_build_task::STATEMENTS),
    ("gc", tables::gc::STATEMENTS),
    ("gc_audit", tables::gc_audit::STATEMENTS),
    ("converted_layer", tables::converted_layer::STATEMENTS),
    ("instance", tables::instance::STATEMENTS),
    ("list_count", tables::list_count::STATEMENTS),
    ("lookup", tables::lookup::STATEMENTS),
    ("maintenance_task", tables::maintenance_task::STATEMENTS),
    ("manifest", tables::manifest::STATEMENTS),
    ("namespace", tables::namespace::STATEMENTS),
    ("nonce", tables::nonce::STATEMENTS),
    ("object_removal", tables::object_removal::STATEMENTS),
    ("readiness", tables::readiness::STATEMENTS),
    ("referrer", tables::referrer::STATEMENTS),
    ("repository", tables::repository::STATEMENTS),
    ("schedule", tables::schedule::STATEMENTS),
    ("scrub", tables::scrub::STATEMENTS),
    ("setting", tables::setting::STATEMENTS),
    ("artifact_subscription_delivery", tables::artifact_subscription_delivery::STATEMENTS),
    ("artifact_subscription_result", tables::artifact_subscription_result::STATEMENTS),
    ("artifact_subscription_rule", tables::artifact_subscription_rule::STATEMENTS),
    ("artifact_subscription_task", tables::artifact_subscription_task::STATEMENTS),
    ("tag", tables::tag::STATEMENTS),
    ("task", tables::task::STATEMENTS),
    ("task::attempt", tables::task::attempt::STATEMENTS),
    ("task::claim", tables::task::claim::STATEMENTS),
    ("task_history", tables::task_history::STATEMENTS),
    ("task_log", tables::task_log::STATEMENTS),
    ("upload", tables::upload::STATEMENTS),
    ("instance_usage", tables::instance_usage::STATEMENTS),
];

/// What only SQLite is asked.
pub const SQLITE: &[(&str, &[&str])] = &[
    ("gc", tables::gc::SQLITE_STATEMENTS),
    ("task::claim", tables::task::claim::SQLITE_STATEMENTS),
    ("instance_usage", tables::instance_usage::SQLITE_STATEMENTS),
];

/// What only PostgreSQL knows.
pub const POSTGRES: &[(&str, &[&str])] = &[
    ("instance", tables::instance::POSTGRES_STATEMENTS),
    ("blob", tables::blob::POSTGRES_STATEMENTS),
    ("gc", tables::gc::POSTGRES_STATEMENTS),
    ("object_removal", tables::object_removal::POSTGRES_STATEMENTS),
    ("repository", tables::repository::POSTGRES_STATEMENTS),
    ("task::claim", tables::task::claim::POSTGRES_STATEMENTS),
    ("instance_usage", tables::instance_usage::POSTGRES_STATEMENTS),
    ("time", crate::time::POSTGRES_STATEMENTS),
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
