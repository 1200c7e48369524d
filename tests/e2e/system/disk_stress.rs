//! `cargo xtask stress disk`: pushes, subscriptions and builds while the disk fills up and is freed,
//! and PostgreSQL is stopped, frozen and started. Nothing that was acknowledged is lost, every task
//! ends truthfully, and no answer is a 5xx but 503 and 507.

use crate::disk_load::{Load, Notes};
use berth_testkit::mount::Mounted;
use berth_testkit::postgres::PostgresServer;
use berth_testkit::server::TestServer;
use berth_testkit::upstream::DockerRegistry;
use berth_tests::subscription::provider;
use rand::Rng as _;
use std::time::{Duration, Instant};

const DISK: u64 = 768 << 20;
const BALLAST: &str = "ballast";

fn duration() -> Duration {
    let seconds = std::env::var("BERTH_STRESS_SECONDS").ok();
    Duration::from_secs(
        seconds.map_or(15, |text| text.parse().expect("BERTH_STRESS_SECONDS is a number")),
    )
}

fn pause(from: u64, to: u64) {
    std::thread::sleep(Duration::from_millis(rand::rng().random_range(from..to)));
}

/// Fills the disk, keeps it full for a moment, and frees it.
fn fill_and_free(disk: &Mounted) {
    pause(500, 2500);
    disk.fill(BALLAST);
    pause(200, 2000);
    disk.free(BALLAST);
}

/// Runs the load while `trouble` happens again and again, and judges.
fn under_load(server: &mut TestServer, upstream: &DockerRegistry, mut trouble: impl FnMut()) {
    let load = Load::prepare(server, upstream);
    let notes = Notes::default();
    let until = Instant::now() + duration();
    std::thread::scope(|scope| {
        for worker in 0..3 {
            let (load, notes) = (&load, &notes);
            scope.spawn(move || load.push_until(until, worker, notes));
        }
        scope.spawn(|| load.subscribe_until(until, &notes));
        while Instant::now() < until {
            trouble();
        }
    });
    load.judge(server, notes);
}

#[test]
fn disk_stress_with_database_and_blobs_on_one_disk() {
    let upstream = DockerRegistry::start();
    let disk = Mounted::memory(DISK);
    let config = format!(
        "{}[database]\nurl = \"sqlite:{}\"\n[storage]\nurl = \"file:{}\"\n[build]\nscratch = \"{}\"\n",
        provider("QUAY", &upstream.host()),
        disk.path().join("berth.db").display(),
        disk.path().join("blobs").display(),
        disk.path().join("scratch").display(),
    );
    let mut server = TestServer::start_with(&config);
    under_load(&mut server, &upstream, || fill_and_free(&disk));
}

#[test]
fn disk_stress_with_database_and_blobs_on_two_disks() {
    let upstream = DockerRegistry::start();
    let (database, blobs) = (Mounted::memory(96 << 20), Mounted::memory(DISK));
    let config = format!(
        "{}[database]\nurl = \"sqlite:{}\"\n[storage]\nurl = \"file:{}\"\n",
        provider("QUAY", &upstream.host()),
        database.path().join("berth.db").display(),
        blobs.path().join("blobs").display(),
    );
    let mut server = TestServer::start_with(&config);
    under_load(&mut server, &upstream, || match rand::rng().random_range(0..2) {
        0 => fill_and_free(&blobs),
        _ => fill_and_free(&database),
    });
}

#[test]
fn disk_stress_with_postgres_that_comes_and_goes() {
    let upstream = DockerRegistry::start();
    let mut postgres = PostgresServer::start();
    let blobs = Mounted::memory(DISK);
    let config = format!(
        "{}[database]\nurl = \"{}\"\n[storage]\nurl = \"file:{}\"\n",
        provider("QUAY", &upstream.host()),
        postgres.url(),
        blobs.path().join("blobs").display(),
    );
    let mut server = TestServer::start_with(&config);
    under_load(&mut server, &upstream, || match rand::rng().random_range(0..3) {
        0 => fill_and_free(&blobs),
        1 => {
            pause(500, 2500);
            postgres.stop();
            pause(500, 20_000);
            postgres.resume();
        }
        _ => {
            pause(500, 2500);
            postgres.freeze();
            pause(500, 6000);
            postgres.thaw();
        }
    });
}
