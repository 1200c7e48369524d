//! Databases on the PostgreSQL server that `cargo xtask test` started, and servers of a test's own.

mod server;

use crate::environment::required;
pub use server::PostgresServer;
use std::process::Command;

/// Creates an empty database of a unique name and returns its URL (`postgres://…`).
///
/// The server is thrown away after the run, and the database with it.
///
/// # Panics
/// When `BERTH_TEST_POSTGRES_URL` is unset or the server refuses: a test never skips.
#[must_use]
pub fn fresh_database() -> String {
    let admin_url = required("BERTH_TEST_POSTGRES_URL");
    let name = format!("berth_{}", uuid::Uuid::new_v4().simple());
    let output = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname", &admin_url])
        .arg("--command")
        // template0 is never connected to, so databases can be created side by side.
        .arg(format!("CREATE DATABASE {name} TEMPLATE template0"))
        .output()
        .unwrap_or_else(|error| panic!("psql cannot be started: {error}"));
    assert!(
        output.status.success(),
        "cannot create a database at {admin_url}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut url = url::Url::parse(&admin_url)
        .unwrap_or_else(|error| panic!("BERTH_TEST_POSTGRES_URL {admin_url}: {error}"));
    url.set_path(&name);
    url.to_string()
}
