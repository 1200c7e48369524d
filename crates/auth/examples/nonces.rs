//! What it costs to accept a signed request once: `cargo run --release -p berth-auth --example nonces`,
//! with `BERTH_POSTGRES_URL` for PostgreSQL as well. Prints microseconds of wall clock and of this
//! process's processor time per signed request, without and with nonces that outlive the server.

#![allow(clippy::print_stdout, reason = "a measurement speaks on the terminal")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use berth_auth::bootstrap::bootstrap;
use berth_auth::signature::SignedRequest;
use berth_auth::signature::acs3::{Outgoing, sign};
use berth_auth::{Auth, AuthConfig, BootstrapConfig, ClientAddress, MasterKey, NonceJournal};
use berth_metadata::tables::nonce;
use berth_metadata::{Access, Db, DbOptions};
use berth_types::{Clock as _, Secret, SystemClock};

type Error = Box<dyn std::error::Error>;
type Signed = Vec<(String, Vec<u8>)>;

const ID: &str = "operator";
const SECRET: &str = "a-secret-that-nobody-guesses";

#[tokio::main]
async fn main() -> Result<(), Error> {
    let folder = tempfile::tempdir_in(".")?;
    let url = format!("sqlite:{}", folder.path().join("berth.db").display());
    let options = DbOptions { access: Access::SoleWriter, ..DbOptions::default() };
    let db = Db::open_with(&url, options).await?;
    let master = first_start(&db).await?;
    let clock = Arc::new(SystemClock);
    let config = AuthConfig::default();
    let memory = Auth::new(db.clone(), master.clone(), clock.clone(), config.clone());
    measure("SQLite, memory alone", &memory, 100_000).await?;
    let journal = NonceJournal { folder: folder.path().join("nonces"), first_start: true };
    let kept = Auth::open(db.clone(), master, clock.clone(), config.clone(), &journal).await?;
    measure("SQLite, journal", &kept, 100_000).await?;
    rows("SQLite, a relaxed row instead", &db, true, 5_000).await?;
    rows("SQLite, a durable row instead", &db, false, 1_000).await?;
    if let Ok(url) = std::env::var("BERTH_POSTGRES_URL") {
        let db = Db::open(&url).await?;
        let master = first_start(&db).await?;
        let shared = Auth::new(db.clone(), master, clock, config);
        measure("PostgreSQL, durable row", &shared, 5_000).await?;
        rows("PostgreSQL, a relaxed row alone", &db, true, 5_000).await?;
        rows("PostgreSQL, a durable row alone", &db, false, 5_000).await?;
    }
    Ok(())
}

async fn first_start(db: &Db) -> Result<MasterKey, Error> {
    let master = MasterKey::generate();
    let access_key = Some((ID.to_owned(), Secret::new(SECRET)));
    let config = BootstrapConfig { access_key, ..BootstrapConfig::default() };
    bootstrap(db, &master, &SystemClock, &config).await?;
    Ok(master)
}

async fn measure(name: &str, auth: &Auth, count: usize) -> Result<(), Error> {
    let requests: Vec<Signed> = (0..count).map(|_| signed()).collect();
    let mut times = Vec::with_capacity(count);
    let begun = processor_time();
    for headers in &requests {
        let request =
            SignedRequest { method: "GET", path: "/", query: &[], form: &[], headers, body: b"" };
        let start = Instant::now();
        auth.authenticate(&request, ClientAddress::default()).await?;
        times.push(start.elapsed());
    }
    report(name, processor_time() - begun, times);
    Ok(())
}

async fn rows(name: &str, db: &Db, relaxed: bool, count: usize) -> Result<(), Error> {
    let mut times = Vec::with_capacity(count);
    let begun = processor_time();
    for _ in 0..count {
        let hash = i64::from_le_bytes(rand::random());
        let start = Instant::now();
        let begin = if relaxed { db.begin_relaxed().await } else { db.begin().await };
        let mut session = begin?;
        nonce::insert(&mut session, hash, i64::MAX).await?;
        session.commit().await?;
        times.push(start.elapsed());
    }
    report(name, processor_time() - begun, times);
    Ok(())
}

fn report(name: &str, processor: Duration, mut times: Vec<Duration>) {
    times.sort_unstable();
    let count = u32::try_from(times.len()).unwrap_or(u32::MAX).max(1);
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    println!(
        "{name:36} CPU {:7.1} us  median {:7.1} us  p99 {:8.1} us",
        micros(processor / count),
        micros(at(50)),
        micros(at(99))
    );
}

fn signed() -> Signed {
    let outgoing = Outgoing {
        method: "GET",
        host: "127.0.0.1:5000",
        action: "GetArtifactBuildTask",
        version: "2018-12-01",
        query: &[],
        body: b"",
        content_type: None,
        nonce: &berth_types::id::key(),
        now: SystemClock.now(),
    };
    let headers = sign(&outgoing, ID, &Secret::new(SECRET));
    headers.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect()
}

/// User and system time of this process so far.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    // utime and stime are the 14th and 15th field of the line, in hundredths of a second.
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
