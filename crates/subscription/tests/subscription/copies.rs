//! What arrives.

use berth_types::Digest;

use berth_testbed::on_both_engines;

use crate::support::{INSTANCE, Target, Upstream};

on_both_engines!(
    the_newest_tags_arrive_with_their_digests,
    a_broken_tag_fails_alone,
    a_platform_filter_chooses_among_several,
    existing_tags_are_kept_unless_override,
    blobs_that_are_here_are_not_downloaded,
    how_many_tags_a_rule_may_take_is_configured,
);

const LOOPBACK: &[&str] = &["127.0.0.0/8"];

fn layer(name: &str) -> Vec<u8> {
    name.repeat(50_000).into_bytes()
}

async fn the_newest_tags_arrive_with_their_digests(place: Target) {
    let upstream = Upstream::start().await;
    let mut digests = Vec::new();
    for day in 1..=11 {
        let created = format!("2024-01-{day:02}T00:00:00Z");
        let layers = [layer("base"), layer(&format!("day {day}"))];
        // The names run against the dates: `a` is the newest.
        let tag = char::from(b'l' - u8::try_from(day).expect("day")).to_string();
        digests.push((tag.clone(), upstream.image(&tag, &created, &layers).await));
    }
    digests
        .push(("multi".to_owned(), upstream.index("multi", &["linux/amd64", "linux/arm64"]).await));
    let subscription = place.subscription(LOOPBACK);
    let _worker = place.worker(&subscription);
    let rule = subscription.create_rule(&place.ctx, INSTANCE, upstream.rule(".*", 3)).await;
    let rule = rule.expect("rule");
    let first = place.run(&subscription, &rule).await;
    assert_eq!(first.said(), ("SUCCESS", "success"), "{first:?}");
    assert_eq!(first.tags(), ["a", "b", "c"]);
    assert_eq!(
        (first.task.tag_total_count, first.task.tag_subscription_count),
        (Some(12), Some(3))
    );
    assert_eq!(first.task.task_type, "MANUAL");
    assert!(first.task.start_time <= first.task.end_time && first.task.end_time.is_some());
    for row in &first.rows {
        assert_eq!((row.status.as_str(), row.result.as_deref()), ("COMPLETED", Some("SUCCESS")));
        assert!(row.start_time <= row.end_time && row.end_time.is_some());
        let upstreams =
            digests.iter().find(|(tag, _)| *tag == row.tag).map(|(_, one)| one.as_str());
        let pulled = place.pulled(&place.target, &row.tag).await;
        assert_eq!(pulled.as_ref().map(Digest::as_str), upstreams);
        assert_eq!(row.digest, pulled);
    }
    assert_eq!(place.pulled(&place.target, "d").await, None);
    let again = place.run(&subscription, &rule).await;
    assert_eq!(again.said(), ("SUCCESS", "success"));
    assert!(again.rows.iter().all(|row| row.message.as_deref() == Some("unchanged")), "{again:?}");

    // A whole index keeps its bytes, and everything below it comes along.
    let rule = subscription.create_rule(&place.ctx, INSTANCE, upstream.rule("multi", 1)).await;
    let multi = place.run(&subscription, &rule.expect("rule")).await;
    assert_eq!(multi.said(), ("SUCCESS", "success"), "{multi:?}");
    let pulled = place.pulled(&place.target, "multi").await.expect("index");
    assert_eq!(Some(pulled.as_str()), digests.last().map(|(_, digest)| digest.as_str()));

    // A tag that moves at the source moves here.
    let moved = upstream.image("a", "2024-02-01T00:00:00Z", &[layer("moved")]).await;
    let first_rule = first.task.rule_id;
    let third = place.run(&subscription, &first_rule).await;
    assert_eq!(third.said(), ("SUCCESS", "success"), "{third:?}");
    let pulled = place.pulled(&place.target, "a").await.expect("moved");
    assert_eq!(pulled.as_str(), moved);
}

async fn a_broken_tag_fails_alone(place: Target) {
    let upstream = Upstream::start().await;
    for tag in ["v1.0.0", "v2.0.0", "v3.0.0"] {
        upstream.image(tag, "2024-01-01T00:00:00Z", &[layer("base"), layer(tag)]).await;
    }
    upstream.lose(&layer("v2.0.0")).await;
    let subscription = place.subscription(LOOPBACK);
    let _worker = place.worker(&subscription);
    let rule = subscription.create_rule(&place.ctx, INSTANCE, upstream.rule("v.*", 5)).await;
    let ended = place.run(&subscription, &rule.expect("rule")).await;
    let lost = Digest::sha256(&layer("v2.0.0"));
    let (result, message) = ended.said();
    assert_eq!(result, "FAILED");
    let expected = format!("2 of 3 tags copied; v2.0.0: blob {lost} not found at source");
    assert!(message.starts_with(&expected), "{message}");
    assert_eq!(ended.tags(), ["v3.0.0", "v2.0.0", "v1.0.0"]);
    let broken = ended.row("v2.0.0");
    assert_eq!((broken.status.as_str(), broken.result.as_deref()), ("COMPLETED", Some("FAILED")));
    assert!(broken.message.as_deref().is_some_and(|text| text.contains(lost.as_str())));
    assert!(ended.logged(&format!("v2.0.0: failed: blob {lost} not found at source")), "{ended:?}");
    for tag in ["v1.0.0", "v3.0.0"] {
        assert_eq!(ended.row(tag).result.as_deref(), Some("SUCCESS"));
        assert!(place.pulled(&place.target, tag).await.is_some());
    }
    assert_eq!(place.pulled(&place.target, "v2.0.0").await, None);
}

async fn a_platform_filter_chooses_among_several(place: Target) {
    let upstream = Upstream::start().await;
    let whole = upstream.index("multi", &["linux/amd64", "linux/arm64", "windows/amd64"]).await;
    upstream.image("single", "2024-01-01T00:00:00Z", &[layer("single")]).await;
    let subscription = place.subscription(LOOPBACK);
    let _worker = place.worker(&subscription);
    let mut rule = upstream.rule(".*", 5);
    rule.platforms = vec!["linux/arm64".to_owned(), "windows/x86-64".to_owned()];
    let rule = subscription.create_rule(&place.ctx, INSTANCE, rule).await.expect("rule");
    let ended = place.run(&subscription, &rule).await;
    // A single image is taken as it is.
    assert_eq!(ended.said(), ("SUCCESS", "success"), "{ended:?}");
    assert!(place.pulled(&place.target, "single").await.is_some());
    let digest = ended.row("multi").digest.as_ref();
    assert_eq!(digest.map(Digest::as_str), Some(whole.as_str()), "{ended:?}");
    assert!(ended.logged("2 of 6 children left out (linux/amd64)"), "{ended:?}");

    let mut none = upstream.rule("multi", 5);
    none.platforms = vec!["linux/s390x".to_owned()];
    let none = subscription.create_rule(&place.ctx, INSTANCE, none).await.expect("rule");
    let ended = place.run(&subscription, &none).await;
    assert!(ended.said().1.contains("no image for linux/s390x in the index"), "{ended:?}");
}

async fn existing_tags_are_kept_unless_override(place: Target) {
    let upstream = Upstream::start().await;
    upstream.image("v1", "2024-01-01T00:00:00Z", &[layer("old")]).await;
    let subscription = place.subscription(LOOPBACK);
    let _worker = place.worker(&subscription);
    let mut rule = upstream.rule("v.*", 5);
    rule.override_tags = false;
    let rule = subscription.create_rule(&place.ctx, INSTANCE, rule).await.expect("rule");
    assert_eq!(place.run(&subscription, &rule).await.said().0, "SUCCESS");
    let before = place.pulled(&place.target, "v1").await;
    upstream.image("v1", "2024-01-02T00:00:00Z", &[layer("new")]).await;
    upstream.image("v2", "2024-01-02T00:00:00Z", &[layer("new")]).await;
    let ended = place.run(&subscription, &rule).await;
    assert_eq!(ended.said(), ("SUCCESS", "success"), "{ended:?}");
    assert_eq!(ended.row("v1").message.as_deref(), Some("skipped: tag exists"));
    assert_eq!(place.pulled(&place.target, "v1").await, before);
    assert!(place.pulled(&place.target, "v2").await.is_some());
}

async fn blobs_that_are_here_are_not_downloaded(place: Target) {
    let upstream = Upstream::start().await;
    upstream.image("v1", "2024-01-01T00:00:00Z", &[layer("a"), layer("b"), layer("a")]).await;
    let subscription = place.subscription(LOOPBACK);
    let _worker = place.worker(&subscription);
    let other = place.repository("other").await;
    let rule = subscription.create_rule(&place.ctx, INSTANCE, upstream.rule("v1", 1)).await;
    let first = place.run(&subscription, &rule.expect("rule")).await;
    assert!(first.logged("3 blobs of"), "{first:?}");
    let mut rule = upstream.rule("v1", 1);
    rule.repo_name = "other".to_owned();
    let rule = subscription.create_rule(&place.ctx, INSTANCE, rule).await.expect("rule");
    let second = place.run(&subscription, &rule).await;
    assert_eq!(second.said(), ("SUCCESS", "success"), "{second:?}");
    assert!(second.logged("0 blobs of 0 bytes downloaded, 3 blobs present"), "{second:?}");
    assert!(place.pulled(&other, "v1").await.is_some());
}

async fn how_many_tags_a_rule_may_take_is_configured(place: Target) {
    let upstream = Upstream::start().await;
    for tag in ["one", "two", "three"] {
        upstream.image(tag, "2024-01-01T00:00:00Z", &[layer(tag)]).await;
    }
    let few = place.subscription_where(LOOPBACK, |config| {
        config.limits.tag_count = 150;
        config.limits.dated_tags = 2;
    });
    let refused = few.create_rule(&place.ctx, INSTANCE, upstream.rule(".*", 151)).await;
    let refused = refused.expect_err("too many").to_string();
    assert!(refused.contains("1 to 150 (subscription.max_tag_count)"), "{refused}");
    let rule = few.create_rule(&place.ctx, INSTANCE, upstream.rule(".*", 150)).await;
    assert!(rule.is_ok(), "more than the default: {rule:?}");
    // To take one of three, all are dated.
    let rule = few.create_rule(&place.ctx, INSTANCE, upstream.rule("one|two|three", 1)).await;
    let rule = rule.expect("rule");

    let worker = place.worker(&few);
    let ended = place.run(&few, &rule).await;
    let (result, message) = ended.said();
    assert_eq!(result, "FAILED");
    assert!(message.contains("at most 2 can be ordered"), "{message}");
    assert!(message.contains("subscription.max_dated_tags"), "{message}");
    drop(worker);
    let more = place.subscription_where(LOOPBACK, |config| config.limits.dated_tags = 3);
    let _worker = place.worker(&more);
    let ended = place.run(&more, &rule).await;
    assert_eq!((ended.said().0, ended.rows.len()), ("SUCCESS", 1), "{ended:?}");
}
