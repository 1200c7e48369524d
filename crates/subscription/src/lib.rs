//! Artifact subscription: tags of other registries, selected by rules, copied here.
//!
//! Owns subscription rules, the selection of tags, the copy of an image with everything that it
//! names, and a truthful result for every selected tag. Must not know HTTP towards Berth's own
//! clients, and talks to upstreams only through `berth_oci::client`, whose dialer checks every
//! address. What arrives is pushed through the same service as a client's push, so that build
//! rules see it.
//!
//! Entry points: [`Subscription`], which serves rules and tasks, runs them
//! ([`Subscription::handlers`]) and fires their schedules (`impl berth_tasks::Fire`).

mod artifact_subscription_rule;
mod artifact_subscription_task;
mod config;
mod copy;
mod error;
mod handler;
mod natural;
mod pattern;
mod plan;
mod platforms;
mod provider;
mod referrer;
mod schedule;
mod select;
mod source;
mod subscription;
mod summary;
mod validate;

pub use artifact_subscription_rule::{
    IndexMode, NewSubscriptionRule, RuleChanges, SubscriptionRule,
};
pub use artifact_subscription_task::{ResultRow, SubscriptionTaskView};
pub use berth_oci::client::AllowedRange;
pub use config::{ProviderConfig, SubscriptionConfig, SubscriptionLimits};
pub use error::{SubscriptionError, SubscriptionErrorKind};
pub use schedule::SCHEDULE_KIND;
pub use subscription::Subscription;
