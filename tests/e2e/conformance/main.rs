//! Whether Berth is the registry of the OCI distribution specification 1.1 and of the additions to
//! it since: every part of the API with every kind of content, on the two ways in which Berth keeps
//! things.
//!
//! Written from the specification. A case is one statement of it; a scenario is the cases that share
//! a repository. Scenarios run side by side.

mod blob_pull;
mod blob_push;
mod client;
mod data;
mod ledger;
mod manifests;
mod matrix;
mod mount;
mod ping;
mod place;
mod referrers;
mod tags;
mod uploads;

use std::io::Write as _;
use std::sync::Mutex;

use berth_testkit::server::TestServer;
use berth_testkit::{postgres, s3};

use crate::client::Client;
use crate::ledger::Ledger;
use crate::place::Place;

/// Scenarios that run at the same time.
const WORKERS: usize = 6;

/// A name, and the cases.
type Scenario<'a> = (&'a str, Box<dyn Fn(&Place<'_>) + Send + Sync + 'a>);

#[test]
fn on_a_folder_and_sqlite() {
    conforms("a folder and SQLite", &TestServer::start());
}

#[test]
fn on_s3_and_postgresql() {
    let (database, bucket) = (postgres::fresh_database(), s3::fresh_bucket());
    let keys = tempfile::tempdir().expect("a folder");
    let secret = keys.path().join("secret");
    std::fs::write(&secret, &bucket.secret_access_key).expect("the secret can be written");
    let config = format!(
        "[database]\nurl = \"{database}\"\n\
         [storage]\nurl = \"s3://{}/blobs\"\nendpoint = \"{}\"\nregion = \"{}\"\n\
         access_key_id = \"{}\"\nsecret_access_key_file = \"{}\"\n\
         allow_http = true\npath_style = true\n",
        bucket.bucket,
        bucket.endpoint,
        bucket.region,
        bucket.access_key_id,
        secret.display(),
    );
    conforms("S3 and PostgreSQL", &TestServer::start_with(&config));
}

fn conforms(title: &str, server: &TestServer) {
    let kinds = data::all();
    let mut scenarios: Vec<Scenario<'_>> = vec![
        ("referrers", Box::new(referrers::run)),
        ("manifests", Box::new(manifests::run)),
        ("blobs pushed", Box::new(blob_push::run)),
        ("blobs pulled", Box::new(blob_pull::run)),
        ("upload sessions", Box::new(uploads::run)),
        ("mounts", Box::new(mount::run)),
        ("tags", Box::new(tags::run)),
        ("endpoints", Box::new(ping::run)),
    ];
    for kind in &kinds {
        scenarios.push((kind.name, Box::new(|place| matrix::run(place, kind))));
    }
    let (client, ledger) = (Client::new(server), Ledger::default());
    let queue = Mutex::new(scenarios.iter());
    std::thread::scope(|threads| {
        for _ in 0..WORKERS {
            threads.spawn(|| {
                loop {
                    let next = queue.lock().expect("nobody panics with it").next();
                    let Some((name, run)) = next else { break };
                    run(&Place::new(&client, &ledger, name));
                }
            });
        }
    });
    let (report, well) = ledger.report(title);
    // Past the capture of the test's output: the table is what the suite is run for.
    std::io::stdout().write_all(report.as_bytes()).expect("the report can be written");
    assert!(well, "not all of it; the server's log ends with:\n{}", server.log());
}
