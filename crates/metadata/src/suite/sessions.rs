//! Statements, values, errors, notifications.

use std::time::{Duration, Instant};

use super::places::{Place, blob, digest, linked_blob, namespace, repository};
use crate::tables::{self, blob as blobs};
use crate::{Db, DbErrorKind, Engine, Value, args};

pub(crate) async fn values_come_back(place: &Place) {
    let mut session = place.read().await;
    let sql = "SELECT $1 AS number, $2 AS words, $3 AS truth, $4 AS raw";
    let given = args![i64::MIN, "é\n'; --", true, vec![0u8, 255, 39]];
    let row = session.fetch_one(sql, given).await.expect("a row");
    assert_eq!(row.int("number").expect("int"), i64::MIN);
    assert_eq!(row.text("words").expect("text"), "é\n'; --");
    assert!(row.boolean("truth").expect("boolean"));
    assert_eq!(row.bytes("raw").expect("bytes"), [0, 255, 39]);

    let nothing = vec![Value::Int(None), Value::Text(None), Value::Bool(None), Value::Bytes(None)];
    let row = session.fetch_one(sql, nothing).await.expect("a row");
    assert_eq!(row.opt_int("number").expect("int"), None);
    assert_eq!(row.opt_text("words").expect("text"), None);
    assert_eq!(row.opt_bytes("raw").expect("bytes"), None);
    assert_eq!(row.opt_boolean("truth").expect("boolean"), None);
    let refused = [
        row.int("number").err(),
        row.text("words").err(),
        row.boolean("truth").err(),
        row.bytes("raw").err(),
        row.text("absent").err(),
    ];
    for error in refused {
        assert_eq!(error.map(|error| error.kind()), Some(DbErrorKind::Corrupt));
    }
    let row = session.fetch_one("SELECT $1 AS digest", args!["md5:0"]).await.expect("a row");
    let error = row.parse::<berth_types::Digest>("digest").expect_err("no digest");
    assert!(error.to_string().contains("`digest`"), "{error}");
}

pub(crate) async fn errors_say_what_and_have_kinds(place: &Place) {
    place.furnish().await;
    let mut session = place.begin().await;
    let twice = tables::namespace::insert(&mut session, &namespace("crn-2", "ns")).await;
    let twice = twice.expect_err("the name is taken");
    assert_eq!(twice.kind(), DbErrorKind::Conflict, "{twice}");
    assert!(twice.to_string().contains("INSERT INTO namespace"), "{twice}");
    drop(session);

    let mut session = place.begin().await;
    let mut orphan = repository("crr-2", "no", "app");
    orphan.namespace_id = "crn-none".into();
    let orphan = tables::repository::insert(&mut session, &orphan).await;
    assert_eq!(orphan.map_err(|error| error.kind()), Err(DbErrorKind::Conflict));
    drop(session);

    let mut session = place.begin().await;
    linked_blob(&mut session, "crr-1", "a").await;
    let in_use = blobs::delete(&mut session, &digest("a")).await;
    assert_eq!(in_use.map_err(|error| error.kind()), Err(DbErrorKind::Conflict));
    drop(session);

    let mut session = place.read().await;
    let none = session.fetch_one("SELECT value FROM setting", args![]).await;
    assert_eq!(none.map_err(|error| error.kind()).err(), Some(DbErrorKind::NotFound));
    let broken = session.execute("SELEKT", args![]).await.expect_err("no SQL");
    assert_eq!(broken.kind(), DbErrorKind::Other, "{broken}");
    if place.db.engine() == Engine::Sqlite {
        let written = blobs::insert(&mut session, &blob("x")).await;
        written.expect_err("a reading session does not write");
    }
}

pub(crate) async fn notifications_wake(place: &Place) {
    let long = Duration::from_secs(60);
    // Given before anybody waits: not lost.
    place.db.notify("tasks");
    let start = Instant::now();
    place.db.wait_notified("tasks", long).await;

    let other = match place.db.engine() {
        Engine::Sqlite => place.db.clone(),
        // Another process on the same database.
        Engine::Postgres => Db::open(&place.url).await.expect("open"),
    };
    let waiting = other.clone();
    let waiter = tokio::spawn(async move { waiting.wait_notified("tasks", long).await });
    while !waiter.is_finished() {
        place.db.notify("tasks");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(start.elapsed() < long / 2);

    let short = Duration::from_millis(50);
    let start = Instant::now();
    place.db.wait_notified("nothing", short).await;
    assert!(start.elapsed() >= short);
    other.close().await;
}

#[tokio::test]
async fn a_url_that_cannot_be_used_says_why() {
    let nowhere = berth_testkit::postgres::fresh_database() + "_not";
    let nowhere = nowhere.replacen('@', ":hidden@", 1);
    for (url, reason) in [
        ("mysql://user:hidden@host/db", "postgres://"),
        ("sqlite:", "path of a file"),
        ("sqlite::memory:", "path of a file"),
        ("sqlite:/dev/null/berth.db", "/dev/null"),
        (nowhere.as_str(), "does not exist"),
    ] {
        let error = Db::open(url).await.err().expect(url).to_string();
        assert!(error.contains(reason), "{error}");
        assert!(!error.contains("hidden"), "{error}");
    }
}
