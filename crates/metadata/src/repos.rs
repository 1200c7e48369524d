//! One module per noun: its row and every statement on it.

pub use crate::page::Page;

pub mod access_key;
pub mod account;
pub mod blob;
pub mod blob_holder;
pub mod build_rule;
pub mod build_task;
pub mod collection;
pub mod collection_audit;
pub mod converted_layer;
pub mod instance;
pub mod lookup;
pub mod maintenance_task;
pub mod manifest;
pub mod namespace;
pub mod object_removal;
pub mod referrer;
pub mod repository;
pub mod schedule;
pub mod scrub;
pub mod setting;
pub mod subscription_result;
pub mod subscription_rule;
pub mod subscription_task;
pub mod tag;
pub mod task;
pub mod task_log;
pub mod upload;
pub mod usage;
