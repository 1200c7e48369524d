//! Every statement of every module, so that a test can prepare each on both engines.

use crate::repos;

/// Module name and its statements.
pub const ALL: &[(&str, &[&str])] = &[
    ("access_key", repos::access_key::STATEMENTS),
    ("account", repos::account::STATEMENTS),
    ("blob", repos::blob::STATEMENTS),
    ("build_rule", repos::build_rule::STATEMENTS),
    ("build_task", repos::build_task::STATEMENTS),
    ("converted_layer", repos::converted_layer::STATEMENTS),
    ("instance", repos::instance::STATEMENTS),
    ("manifest", repos::manifest::STATEMENTS),
    ("namespace", repos::namespace::STATEMENTS),
    ("repository", repos::repository::STATEMENTS),
    ("schedule", repos::schedule::STATEMENTS),
    ("setting", repos::setting::STATEMENTS),
    ("subscription_result", repos::subscription_result::STATEMENTS),
    ("subscription_rule", repos::subscription_rule::STATEMENTS),
    ("subscription_task", repos::subscription_task::STATEMENTS),
    ("tag", repos::tag::STATEMENTS),
    ("task", repos::task::STATEMENTS),
    ("task_log", repos::task_log::STATEMENTS),
    ("upload", repos::upload::STATEMENTS),
];
