//! A source that says when it wants to be asked again.

use std::time::{Duration, Instant};

use crate::odd::Odd;
use berth_testbed::on_both_engines;

use crate::support::{INSTANCE, Target};

on_both_engines!(
    a_run_waits_for_a_source_that_limits_requests_and_spends_no_attempts,
    a_limited_list_of_tags_puts_the_whole_run_off,
);

const LOOPBACK: &[&str] = &["127.0.0.0/8"];

/// The tests' client waits for a second at most by itself; two are the task's.
async fn a_run_waits_for_a_source_that_limits_requests_and_spends_no_attempts(place: Target) {
    let upstream = Odd::start().await;
    for tag in ["v1", "v2", "v3", "v4", "v5", "v6"] {
        let (image, _) = upstream.image("linux/amd64", tag.as_bytes());
        upstream.tag(tag, &image);
    }
    // One attempt, if attempts were spent.
    let subscription = place.subscription_of(LOOPBACK, 1);
    let _worker = place.worker(&subscription);
    upstream.limit("GET /v2/source/app/manifests/v6", 3, 2);
    let rule = subscription.create_rule(&place.ctx, INSTANCE, upstream.rule("v.*", 10)).await;
    let rule = rule.expect("rule");
    let begin = Instant::now();
    let task = subscription.create_task(&place.ctx, INSTANCE, &rule).await.expect("task");
    let said = loop {
        let view = subscription.get_task(&place.ctx, INSTANCE, &task).await.expect("task");
        assert!(!view.status.is_finished(), "{view:?}");
        if let Some(message) = view.message {
            break message;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(said.contains("limits the rate of requests"), "{said}");
    let ended = place.end_of(&subscription, &task).await;
    assert_eq!(ended.said(), ("SUCCESS", "success"), "{ended:?}");
    assert!(begin.elapsed() >= Duration::from_secs(5), "{:?}", begin.elapsed());
    let asked = upstream.asked();
    let limited = asked.iter().filter(|one| *one == "GET manifests/v6").count();
    assert_eq!(limited, 4, "{asked:?}");
    assert_eq!(asked.iter().filter(|one| *one == "GET tags/list").count(), 1, "{asked:?}");
    assert!(ended.logged("limits the rate of requests"), "{ended:?}");
}

async fn a_limited_list_of_tags_puts_the_whole_run_off(place: Target) {
    let upstream = Odd::start().await;
    let (image, _) = upstream.image("linux/amd64", b"layer");
    upstream.tag("v1", &image);
    upstream.limit("/tags/list", 2, 2);
    let subscription = place.subscription_of(LOOPBACK, 1);
    let _worker = place.worker(&subscription);
    let rule = subscription.create_rule(&place.ctx, INSTANCE, upstream.rule("v.*", 10)).await;
    let ended = place.run(&subscription, &rule.expect("rule")).await;
    assert_eq!(ended.said(), ("SUCCESS", "success"), "{ended:?}");
    let asked = upstream.asked();
    assert_eq!(asked.iter().filter(|one| *one == "GET tags/list").count(), 3, "{asked:?}");
}
