//! Results of subscription tasks, one per tag.

pub const STATEMENTS: &[&str] = &[];
