//! Rules for subscription.

mod lifecycle;
