//! Namespaces.

mod lifecycle;
