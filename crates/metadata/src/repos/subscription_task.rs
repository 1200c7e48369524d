//! Artifact subscription tasks.

pub const STATEMENTS: &[&str] = &[];
