//! Subscriptions: tags of other registries, copied here with a result for each.

mod copies;
mod platforms;
