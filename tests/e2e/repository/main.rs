//! Repositories: who may do what in them.

mod access;
