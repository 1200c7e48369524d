//! Uploads that outlive clients and servers.

mod crash;
mod resume;
