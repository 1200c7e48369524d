//! The operations, one file per noun.

pub(crate) mod artifact_build_rule;
pub(crate) mod artifact_build_task;
pub(crate) mod artifact_subscription_rule;
pub(crate) mod artifact_subscription_task;
pub(crate) mod authorization_token;
pub(crate) mod endpoint;
pub(crate) mod instance;
pub(crate) mod instance_usage;
pub(crate) mod maintenance_task;
pub(crate) mod namespace;
pub(crate) mod repository;
pub(crate) mod tag;

use crate::schema::response;

response! {
    /// An answer that says only that it was done.
    Done {}
}
