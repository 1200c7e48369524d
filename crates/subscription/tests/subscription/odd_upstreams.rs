//! Upstreams that answer oddly, and that other clients copy from.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use berth_types::Digest;

use crate::faults::answer;
use berth_testbed::on_both_engines;

use crate::support::{INSTANCE, Target, rule_from};

on_both_engines!(
    a_blob_that_comes_damaged_is_fetched_once_more,
    a_head_that_is_refused_or_names_another_digest_is_no_obstacle,
    a_list_without_an_end_ends_the_run_with_the_reason,
    a_blob_that_trickles_ends_the_attempt,
);

const LOOPBACK: &[&str] = &["127.0.0.0/8"];

type Asked = Arc<Mutex<Vec<String>>>;

/// An upstream with the tags v1 and v2, whose answers `bend` replaces; it is told what is asked and
/// how often that was asked before.
async fn bent<F>(bend: F) -> (String, Asked)
where
    F: Fn(&str, usize) -> Option<Response> + Clone + Send + Sync + 'static,
{
    let log = Asked::default();
    let kept = Arc::clone(&log);
    let router = Router::new().fallback(move |request: Request| {
        let asked = format!("{} {}", request.method(), request.uri());
        let mut log = kept.lock().expect("log");
        let before = log.iter().filter(|one| **one == asked).count();
        log.push(asked.clone());
        drop(log);
        let response = bend(&asked, before).unwrap_or_else(|| answer(&asked));
        async move { response }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let domain = format!("http://{}", listener.local_addr().expect("address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (domain, log)
}

async fn a_blob_that_comes_damaged_is_fetched_once_more(place: Target) {
    let subscription = place.subscription(LOOPBACK);
    let _worker = place.worker(&subscription);
    let layer = Digest::sha256(b"layer of v2");
    let wanted = layer.clone();
    let (domain, log) = bent(move |asked, before| {
        (before == 0 && asked.ends_with(wanted.as_str())).then(|| "layer of vX".into_response())
    })
    .await;
    let rule = rule_from(&domain, ".*", 5);
    let rule = subscription.create_rule(&place.ctx, INSTANCE, rule).await.expect("rule");
    let ended = place.run(&subscription, &rule).await;
    assert_eq!(ended.said(), ("SUCCESS", "success"), "{ended:?}");
    assert!(ended.logged("it is fetched once more"), "{ended:?}");
    let asked = log.lock().expect("log");
    assert_eq!(asked.iter().filter(|one| one.ends_with(layer.as_str())).count(), 2);
}

async fn a_head_that_is_refused_or_names_another_digest_is_no_obstacle(place: Target) {
    let subscription = place.subscription(LOOPBACK);
    let _worker = place.worker(&subscription);
    for status in [400, 404, 501, 200] {
        let (domain, log) = bent(move |asked, _| {
            let foreign = Digest::sha256(b"something else").to_string();
            let status = StatusCode::from_u16(status).expect("status");
            let head = (status, [("docker-content-digest", foreign)]).into_response();
            asked.starts_with("HEAD").then_some(head)
        })
        .await;
        let rule = rule_from(&domain, ".*", 5);
        let rule = subscription.create_rule(&place.ctx, INSTANCE, rule).await.expect("rule");
        for _ in 0..2 {
            let ended = place.run(&subscription, &rule).await;
            assert_eq!(ended.said(), ("SUCCESS", "success"), "HEAD {status}: {ended:?}");
        }
        let asked = std::mem::take(&mut *log.lock().expect("log"));
        let gets = asked.iter().filter(|one| one.starts_with("GET /v2/source/app/manifests/v"));
        assert_eq!(gets.count(), 4, "HEAD {status}: one GET of a tag a run: {asked:?}");
        subscription.delete_rule(&place.ctx, INSTANCE, &rule).await.expect("deleted");
    }
}

async fn a_list_without_an_end_ends_the_run_with_the_reason(place: Target) {
    let subscription = place.subscription(LOOPBACK);
    let _worker = place.worker(&subscription);
    let (domain, log) = bent(|asked, _| {
        let next = if asked.contains("last=x") { "y" } else { "x" };
        let link = format!("</v2/source/app/tags/list?last={next}>; rel=next");
        asked
            .contains("/tags/list")
            .then(|| ([("link", link)], r#"{"tags":["v1"]}"#).into_response())
    })
    .await;
    let rule = rule_from(&domain, ".*", 5);
    let rule = subscription.create_rule(&place.ctx, INSTANCE, rule).await.expect("rule");
    let ended = place.run(&subscription, &rule).await;
    let (result, message) = ended.said();
    assert_eq!(result, "FAILED");
    assert!(message.contains("its pages lead in a circle"), "{message}");
    assert_eq!(log.lock().expect("log").len(), 3);
}

async fn a_blob_that_trickles_ends_the_attempt(place: Target) {
    let subscription = place.subscription_where(LOOPBACK, |config| {
        config.max_attempts = 1;
        config.bounds.rate_window = Duration::from_millis(300);
    });
    let _worker = place.worker(&subscription);
    let layer = Digest::sha256(b"layer of v2");
    let (domain, _) = bent(move |asked, _| {
        let trickle = futures::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Some((Ok::<_, std::io::Error>("l"), ()))
        });
        asked.ends_with(layer.as_str()).then(|| Body::from_stream(trickle).into_response())
    })
    .await;
    let rule = rule_from(&domain, ".*", 5);
    let rule = subscription.create_rule(&place.ctx, INSTANCE, rule).await.expect("rule");
    let ended = place.run(&subscription, &rule).await;
    let (result, message) = ended.said();
    assert_eq!(result, "FAILED");
    assert!(message.contains("upstream.minimum_rate"), "{message}");
}
