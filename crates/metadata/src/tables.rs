//! One module per noun: its row and every statement on it.

pub use crate::page::Page;

pub mod access_key;
pub mod account;
pub mod artifact_build_rule;
pub mod artifact_build_task;
pub mod artifact_subscription_delivery;
pub mod artifact_subscription_result;
pub mod artifact_subscription_rule;
pub mod artifact_subscription_task;
pub mod blob;
pub mod blob_holder;
pub mod converted_layer;
pub mod gc;
pub mod gc_audit;
pub mod instance;
pub mod instance_usage;
pub mod list_count;
pub mod lookup;
pub mod maintenance_task;
pub mod manifest;
pub mod namespace;
pub mod nonce;
pub mod object_removal;
pub mod readiness;
pub mod referrer;
pub mod repository;
pub mod schedule;
pub mod scrub;
pub mod setting;
pub mod tag;
pub mod task;
pub mod task_history;
pub mod task_log;
pub mod upload;
