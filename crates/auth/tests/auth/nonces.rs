//! A signed request is accepted once, wherever and whenever it is sent again.

use std::fs;

use berth_auth::{Auth, AuthConfig, NonceJournal};
use berth_metadata::Db;
use berth_types::Clock as _;

use crate::service::{Fixture, Headers, code, present, signed};

const MINUTE: i64 = 60_000;

impl Fixture {
    /// A start of the server on the same data.
    async fn restarted(&self, first_start: bool) -> Auth {
        let journal = NonceJournal { folder: self.folder.path().join("nonces"), first_start };
        let (db, master, clock) = (self.db.clone(), self.master.clone(), self.clock.clone());
        Auth::open(db, master, clock, AuthConfig::default(), &journal).await.expect("opened")
    }

    fn sign(&self, nonce: &str, ahead: i64) -> Headers {
        signed("operator", "the-secret", nonce, self.clock.now() + ahead)
    }
}

async fn fixture() -> Fixture {
    let fixture = Fixture::new().await;
    fixture.start(Some(("operator", "the-secret"))).await;
    fixture
}

#[tokio::test]
async fn a_request_is_not_accepted_again_after_a_restart() {
    let fixture = fixture().await;
    let first = fixture.restarted(true).await;
    let requests = [fixture.sign("a", 0), fixture.sign("b", -10 * MINUTE)];
    for request in &requests {
        present(&first, request).await.expect("accepted");
    }
    // Killed, and then in good order.
    drop(first);
    for _ in 0..2 {
        fixture.clock.advance(MINUTE);
        let next = fixture.restarted(false).await;
        for request in &requests {
            assert_eq!(code(present(&next, request).await), "SignatureNonceUsed");
        }
        present(&next, &fixture.sign(&format!("c{}", fixture.clock.now()), -10 * MINUTE))
            .await
            .expect("another one is accepted, and also from a clock that is behind");
        next.close().await;
    }
    fixture.clock.advance(20 * MINUTE);
    let last = fixture.restarted(false).await;
    assert_eq!(code(present(&last, &requests[0]).await), "InvalidTimeStamp.Expired");
}

#[tokio::test]
async fn when_the_journal_is_lost_what_was_signed_before_is_refused() {
    let fixture = fixture().await;
    let first = fixture.restarted(true).await;
    let request = fixture.sign("a", 0);
    present(&first, &request).await.expect("accepted");
    drop(first);
    fs::remove_dir_all(fixture.folder.path().join("nonces")).expect("lost");
    fixture.clock.advance(MINUTE);
    let next = fixture.restarted(false).await;
    assert_eq!(code(present(&next, &request).await), "InvalidTimeStamp.Expired");
    present(&next, &fixture.sign("b", 1000)).await.expect("signed after the start");
}

#[tokio::test]
async fn a_request_from_a_clock_that_is_ahead_is_accepted_once_too() {
    let fixture = fixture().await;
    let first = fixture.restarted(true).await;
    let request = fixture.sign("a", 14 * MINUTE);
    present(&first, &request).await.expect("accepted");
    drop(first);
    fixture.clock.advance(28 * MINUTE);
    let next = fixture.restarted(false).await;
    assert_eq!(code(present(&next, &request).await), "SignatureNonceUsed");
}

#[tokio::test]
async fn a_request_is_not_accepted_again_by_a_second_server_on_postgresql() {
    let url = tokio::task::spawn_blocking(berth_testkit::postgres::fresh_database);
    let url = url.await.expect("PostgreSQL");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fixture = Fixture::over(&url, folder).await;
    fixture.start(Some(("operator", "the-secret"))).await;
    let second = Auth::new(
        Db::open(&url).await.expect("database"),
        fixture.master.clone(),
        fixture.clock.clone(),
        AuthConfig::default(),
    );
    let request = fixture.sign("a", 0);
    present(&fixture.auth, &request).await.expect("accepted");
    for server in [&second, &fixture.auth, &fixture.restarted(false).await] {
        assert_eq!(code(present(server, &request).await), "SignatureNonceUsed");
    }
    present(&second, &fixture.sign("b", 0)).await.expect("accepted");

    // Both at the same moment: one of them accepts it.
    for number in 0..20 {
        let request = fixture.sign(&format!("c{number}"), 0);
        let (a, b) = tokio::join!(present(&fixture.auth, &request), present(&second, &request));
        assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
    }
}

#[tokio::test]
async fn expired_nonces_are_removed_from_postgresql_and_no_others() {
    let fixture = Fixture::postgres().await;
    fixture.start(Some(("operator", "the-secret"))).await;
    let old = fixture.sign("old", 0);
    present(&fixture.auth, &old).await.expect("accepted");
    fixture.clock.advance(14 * MINUTE);
    fixture.auth.tidy().await.expect("tidied");
    assert_eq!(code(present(&fixture.auth, &old).await), "SignatureNonceUsed");
    let young = fixture.sign("young", 0);
    present(&fixture.auth, &young).await.expect("accepted");
    fixture.clock.advance(14 * MINUTE);
    fixture.clock.advance(3 * MINUTE);
    fixture.auth.tidy().await.expect("tidied");
    let removed = signed("operator", "the-secret", "old", fixture.clock.now());
    present(&fixture.auth, &removed).await.expect("its row is gone");
}
