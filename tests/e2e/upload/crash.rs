//! Servers are killed again and again at random moments, under a random load of pushes in one piece
//! and in chunks, mounts, manifests, deletes and pulls. After every restart each acknowledged byte
//! and tag is there and every answer is right; at the end the collector leaves nothing over.
//!
//! `BERTH_KILLS` sets the number of kills; `cargo xtask stress crash` takes 200.
#![allow(clippy::print_stdout, reason = "a long test says what it did")]

mod check;
mod client;
mod model;

use berth_tests::places::Place;
use client::Client;
use model::Known;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CLIENTS: usize = 4;

/// Nothing is collected while the load runs: what nothing names is still acknowledged.
const NO_GC: &str = "[gc]\ninterval = 0\ngrace = 1\n";
/// Everything without a use is collected at once.
const EAGER_GC: &str = "[gc]\ninterval = 1\ngrace = 1\nupload_pause = 1\n";

fn kills(usual: usize) -> usize {
    let asked = std::env::var("BERTH_KILLS").ok();
    asked.map_or(usual, |text| text.parse().expect("BERTH_KILLS is a number"))
}

#[test]
fn on_a_folder() {
    probe(Place::folder(NO_GC), kills(15));
}

#[test]
fn on_postgres_and_a_bucket() {
    probe(Place::shared(NO_GC), kills(15).div_ceil(3));
}

fn probe(mut place: Place, kills: usize) {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let shared = Arc::default();
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|number| Client {
            repository: format!("crash/client-{number}"),
            model: model::Model::default(),
            random: StdRng::seed_from_u64(random.random()),
            shared: Arc::clone(&shared),
            answered: 0,
            lost: 0,
        })
        .collect();
    let begin = Instant::now();
    for _ in 0..kills {
        let pause = Duration::from_millis(random.random_range(20..900));
        let victims = load(&mut place, &mut clients, pause, &mut random);
        for victim in victims {
            place.servers[victim].restart();
        }
        check(&place, &mut clients);
    }
    let sum = |count: fn(&Client) -> usize| clients.iter().map(count).sum::<usize>();
    println!(
        "{kills} kills in {:.0} s: {} requests answered, {} lost, {} blobs, {} manifests and {} \
         uploads stand",
        begin.elapsed().as_secs_f64(),
        sum(|client| client.answered),
        sum(|client| client.lost),
        sum(|client| client.model.blobs.len()),
        sum(|client| client.model.manifests.len()),
        sum(|client| client.model.sessions.len()),
    );
    assert!(sum(|client| client.lost) >= kills, "the kills met no work");
    settle(&mut place, &mut clients);
    place.assert_nothing_refused();
}

/// Lets the clients work until servers are killed under them; which ones were.
fn load(
    place: &mut Place,
    clients: &mut [Client],
    pause: Duration,
    random: &mut StdRng,
) -> Vec<usize> {
    let registries: Vec<_> =
        (0..clients.len()).map(|number| place.registry_of_turn(number)).collect();
    std::thread::scope(|scope| {
        let workers: Vec<_> = clients
            .iter_mut()
            .zip(&registries)
            .map(|(client, registry)| scope.spawn(|| client.work(registry)))
            .collect();
        std::thread::sleep(pause);
        // Of two servers one goes first; its clients lose their answers, the others work on.
        let mut victims: Vec<usize> = (0..place.servers.len()).collect();
        if random.random_bool(0.5) {
            victims.reverse();
        }
        for victim in &victims {
            place.servers[*victim].kill9();
            std::thread::sleep(Duration::from_millis(random.random_range(0..50)));
        }
        for worker in workers {
            if let Err(panic) = worker.join() {
                std::panic::resume_unwind(panic);
            }
        }
        victims
    })
}

fn check(place: &Place, clients: &mut [Client]) {
    std::thread::scope(|scope| {
        for (number, client) in clients.iter_mut().enumerate() {
            // What one server took the other answers.
            let registry = place.registry_of_turn(number + 1);
            for session in &mut client.model.sessions {
                session.upload = session.upload.at(&registry);
            }
            scope.spawn(move || client.check(&registry));
        }
    });
}

/// At the end the collector leaves what manifests name, and nothing else.
fn settle(place: &mut Place, clients: &mut [Client]) {
    let registry = place.registry();
    for client in clients.iter_mut() {
        for _ in 0..client.model.manifests.len() / 2 {
            client.delete_manifest(&registry).expect("the server answers");
        }
    }
    let mut named = BTreeSet::new();
    for client in clients.iter() {
        for manifest in client.model.manifests.values() {
            assert_eq!(manifest.known, Known::Present);
            named.extend(manifest.blobs.iter().cloned());
        }
    }
    assert!(!named.is_empty(), "nothing stands at the end");
    place.restart_with(EAGER_GC);
    place.wait_nothing_but(named.into_iter().collect());
    let registry = place.registry();
    for client in clients.iter_mut() {
        client.model.sessions.clear();
        client.model.blobs.retain(|digest, _| {
            client.model.manifests.values().any(|manifest| manifest.blobs.contains(digest))
        });
        client.check(&registry);
    }
}
