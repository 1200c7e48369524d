//! The services on SQLite and PostgreSQL, with a real folder of blobs.

mod blob;
mod cache;
mod instance_usage;
mod listener;
mod manifest;
mod repository;
mod upload;
