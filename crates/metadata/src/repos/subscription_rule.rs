//! Artifact subscription rules.

pub const STATEMENTS: &[&str] = &[];
