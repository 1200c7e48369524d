//! How long a claim takes in a database that is full: `claim QUEUE ROUNDS CLAIMS URL…`.
//!
//! Asks what a worker asks to claim one task, and takes each claim back. The databases are asked in
//! turn; a line for each has, in milliseconds, what half of its claims and what one in a hundred took
//! longer than.
#![allow(clippy::print_stdout, reason = "it prints figures")]

use std::error::Error;
use std::time::{Duration, Instant};

use berth_metadata::tables::task::claim::{self, Claimant};
use berth_metadata::{Access, Db, DbOptions};

const NOW: i64 = 2_000_000_000_000;
/// What a rollback may take.
const TAKEN_BACK: Duration = Duration::from_millis(3);
const LOSSES: i64 = i64::MAX;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [queue, rounds, claims, urls @ ..] = arguments.as_slice() else {
        return Err("claim QUEUE ROUNDS CLAIMS URL…".into());
    };
    let (rounds, claims): (usize, usize) = (rounds.parse()?, claims.parse()?);
    let mut databases = Vec::new();
    for url in urls {
        let options = DbOptions { access: Access::SoleWriter, ..DbOptions::default() };
        databases.push((Db::open_with(url, options).await?, Vec::with_capacity(rounds * claims)));
    }
    for round in 0..=rounds {
        for _ in 0..claims {
            for (db, times) in &mut databases {
                let took = claim_once(db, queue).await?;
                // The first round only warms up.
                if round > 0 {
                    times.push(took);
                }
            }
            // It is taken back behind our back, and must be before the next one looks.
            tokio::time::sleep(TAKEN_BACK).await;
            // Who comes first finds other things in the processor's caches than who comes second.
            databases.reverse();
        }
    }
    if (rounds + 1) * claims % 2 == 1 {
        databases.reverse();
    }
    for (_, times) in &mut databases {
        times.sort_by(f64::total_cmp);
        let place = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
        println!("{} {}", place(50), place(99));
    }
    Ok(())
}

/// Milliseconds of a claim, which is then taken back.
async fn claim_once(db: &Db, queue: &str) -> Result<f64, Box<dyn Error>> {
    let begin = Instant::now();
    let mut session = db.begin().await?;
    claim::promote(&mut session, queue, NOW).await?;
    claim::running(&mut session).await?;
    let oldest = claim::oldest(&mut session, queue, LOSSES, 64).await?;
    claim::tenants(&mut session, queue, "", 32).await?;
    let waiting = oldest.first().ok_or("nothing waits")?;
    let by = Claimant { owner: "bench", now: NOW, lease_expires_at: NOW, losses: LOSSES };
    let claimed = claim::claim(&mut session, queue, waiting, &by).await?;
    let took = begin.elapsed().as_secs_f64() * 1000.0;
    claimed.ok_or("nothing to claim")?;
    Ok(took)
}
