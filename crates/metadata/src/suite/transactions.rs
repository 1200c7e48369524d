//! What transactions promise.

use std::time::Duration;

use futures::future::join_all;

use super::places::{Place, repository};
use crate::tables::{repository as repositories, setting};
use crate::{Db, DbError, Engine};

pub(crate) async fn what_is_not_committed_is_rolled_back(place: &Place) {
    let mut session = place.begin().await;
    setting::put(&mut session, "kept", "yes").await.expect("put");
    session.commit().await.expect("commit");

    let mut session = place.begin().await;
    setting::put(&mut session, "kept", "no").await.expect("put");
    setting::put(&mut session, "lost", "yes").await.expect("put");
    let own = setting::find(&mut session, "lost").await.expect("find");
    assert_eq!(own.as_deref(), Some("yes"), "a transaction sees what it wrote");
    drop(session);

    for _ in 0..3 {
        // Also on the connection that was rolled back.
        let mut session = place.begin().await;
        assert_eq!(setting::find(&mut session, "lost").await.expect("find"), None);
        let kept = setting::find(&mut session, "kept").await.expect("find");
        assert_eq!(kept.as_deref(), Some("yes"));
    }
}

pub(crate) async fn a_dropped_begin_leaves_nothing_behind(place: &Place) {
    for microseconds in 0..200 {
        let begin = async {
            let mut session = place.db.begin().await?;
            setting::put(&mut session, "dropped", "x").await?;
            tokio::time::sleep(Duration::from_secs(60)).await;
            session.commit().await
        };
        let begun = tokio::time::timeout(Duration::from_micros(microseconds * 20), begin).await;
        begun.expect_err("it was dropped");
    }
    let mut session = place.begin().await;
    assert_eq!(setting::find(&mut session, "dropped").await.expect("find"), None);
    setting::put(&mut session, "after", "x").await.expect("put");
    session.commit().await.expect("commit");
    let mut session = place.read().await;
    assert!(setting::find(&mut session, "after").await.expect("find").is_some());
}

pub(crate) async fn writers_take_turns_on_a_locked_row(place: &Place) {
    place.furnish().await;
    let count = async |db: Db| -> Result<(), DbError> {
        for _ in 0..20 {
            let mut session = db.begin().await?;
            let locked = repositories::lock(&mut session, "crr-1").await?;
            let mut repository = locked.expect("the repository");
            let number: u32 = repository.summary.parse().expect("a number");
            repository.summary = (number + 1).to_string();
            repositories::update(&mut session, &repository).await?;
            session.commit().await?;
        }
        Ok(())
    };
    let writers = (0..8).map(|_| count(place.db.clone()));
    for done in join_all(writers).await {
        done.expect("every writer gets its turn");
    }
    let mut session = place.read().await;
    let repository = repositories::find_by_id(&mut session, "crr-1").await.expect("find");
    assert_eq!(repository.expect("the repository").summary, "160");
}

pub(crate) async fn one_of_many_is_first(place: &Place) {
    let first = async |db: Db, name: String| -> Result<bool, DbError> {
        let mut session = db.begin().await?;
        let first = setting::put_new(&mut session, "first", &name).await?;
        session.commit().await?;
        Ok(first)
    };
    let all = (0..16).map(|number| first(place.db.clone(), number.to_string()));
    let all: Vec<bool> = join_all(all).await.into_iter().map(|one| one.expect("put")).collect();
    assert_eq!(all.iter().filter(|first| **first).count(), 1);
}

pub(crate) async fn readers_do_not_wait_for_a_writer(place: &Place) {
    let mut writer = place.begin().await;
    setting::put(&mut writer, "name", "value").await.expect("put");
    let read = async {
        let mut session = place.read().await;
        setting::find(&mut session, "name").await.expect("find")
    };
    let seen = tokio::time::timeout(Duration::from_secs(10), read).await;
    assert_eq!(seen.expect("no wait"), None);
    writer.commit().await.expect("commit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_is_transient() {
    let place = super::places::postgres().await;
    assert_eq!(place.db.engine(), Engine::Postgres);
    place.furnish().await;
    let mut session = place.begin().await;
    repositories::insert(&mut session, &repository("crr-2", "ns", "two")).await.expect("insert");
    session.commit().await.expect("commit");

    let (mut one, mut two) = (place.begin().await, place.begin().await);
    repositories::lock(&mut one, "crr-1").await.expect("lock");
    repositories::lock(&mut two, "crr-2").await.expect("lock");
    let cross = async |session: &mut crate::Session, id: &str| {
        repositories::lock(session, id).await.map(drop)
    };
    let (one, two) = tokio::join!(
        async {
            let crossed = cross(&mut one, "crr-2").await;
            drop(one);
            crossed
        },
        async {
            let crossed = cross(&mut two, "crr-1").await;
            drop(two);
            crossed
        }
    );
    let failed = one.and(two).expect_err("one of them was chosen");
    assert!(failed.is_transient(), "{failed}");
}
