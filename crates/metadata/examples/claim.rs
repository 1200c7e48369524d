//! How long a claim takes in a database that is full: `claim QUEUE ROUNDS CLAIMS URL…`.
//!
//! Asks what a worker asks to claim one task, and takes each claim back. The databases are asked in
//! turn; a line for each has the medians over the rounds, in milliseconds, of what half of the claims
//! and of what one in a hundred took longer than.
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
        databases.push((Db::open_with(url, options).await?, Vec::new(), Vec::new()));
    }
    for round in 0..=rounds {
        let mut times = vec![Vec::with_capacity(claims); databases.len()];
        for _ in 0..claims {
            for ((db, ..), times) in databases.iter().zip(&mut times) {
                times.push(claim_once(db, queue).await?);
            }
            // It is taken back behind our back, and must be before the next one looks.
            tokio::time::sleep(TAKEN_BACK).await;
        }
        for ((_, half, slow), mut times) in databases.iter_mut().zip(times) {
            times.sort_by(f64::total_cmp);
            // The first only warms up.
            if round > 0 {
                half.extend(times.get(claims / 2));
                slow.extend(times.get(claims * 99 / 100));
            }
        }
    }
    for (_, half, slow) in &mut databases {
        let middle = |values: &mut Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or_default()
        };
        println!("{} {}", middle(half), middle(slow));
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
