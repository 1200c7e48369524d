//! Registries that limit how often they are asked.

use std::time::{Duration, Instant};

use berth_oci::client::ClientErrorKind;
use berth_types::{Clock as _, SystemClock};

use crate::upstream::{client, reply, serve};

#[tokio::test]
async fn a_short_pause_is_waited_out() {
    let (address, log) = serve(|_, number| match number {
        0 => reply(429, &[("retry-after", "1")], ""),
        1 => reply(503, &[], ""),
        _ => reply(200, &[], r#"{"tags":["v1"]}"#),
    })
    .await;
    let start = Instant::now();
    assert_eq!(client(&address).tags("a/b").await.map(|tags| tags.len()), Ok(1));
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(log.all().len(), 3);
}

#[tokio::test]
async fn a_long_pause_is_told_with_its_end_and_not_waited_out() {
    for (fields, seconds) in [
        (vec![("retry-after", "3600")], 3600),
        (vec![("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "0;w=21600")], 21600),
        (vec![("ratelimit-remaining", "0"), ("ratelimit-reset", "900")], 900),
    ] {
        let sent = fields.clone();
        let (address, log) = serve(move |_, _| reply(429, &sent, "")).await;
        let before = SystemClock.now();
        let error = client(&address).tags("a/b").await.expect_err("too long");
        assert_eq!(error.kind(), ClientErrorKind::RateLimited, "{fields:?}: {error}");
        assert!(error.is_transient() && error.to_string().contains(&format!("{seconds} s")));
        let at = error.retry_at().expect("a time");
        let range = before + seconds * 1000..=SystemClock.now() + seconds * 1000;
        assert!(range.contains(&at), "{fields:?}: {at} is not in {range:?}");
        assert_eq!(log.all().len(), 1, "{fields:?}");
    }
}

#[tokio::test]
async fn pauses_of_one_call_do_not_add_up_beyond_the_longest() {
    let (address, log) = serve(|_, _| reply(429, &[("retry-after", "1")], "")).await;
    let start = Instant::now();
    let error = client(&address).tags("a/b").await.expect_err("never answered");
    assert_eq!(error.kind(), ClientErrorKind::RateLimited, "{error}");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(log.all().len(), 3);
}

#[tokio::test]
async fn a_limit_without_a_time_is_tried_as_any_fault() {
    let (address, log) = serve(|_, _| reply(429, &[], "")).await;
    let error = client(&address).tags("a/b").await.expect_err("never answered");
    assert_eq!((error.kind(), error.retry_at()), (ClientErrorKind::RateLimited, None));
    assert_eq!(log.all().len(), 4, "one try and three more");
}

#[tokio::test]
async fn faults_of_the_server_are_tried_again() {
    let (address, log) = serve(|_, _| reply(500, &[], "")).await;
    assert!(client(&address).tags("a/b").await.is_err_and(|error| error.is_transient()));
    assert_eq!(log.all().len(), 4, "one try and three more");
}

#[tokio::test]
async fn a_pause_holds_for_the_same_kind_of_request_only() {
    let (address, log) = serve(|seen, _| {
        if seen.request.starts_with("GET") && seen.request.contains("/manifests/") {
            return reply(429, &[("retry-after", "3600")], "");
        }
        reply(200, &[], r#"{"tags":["v1"]}"#)
    })
    .await;
    let client = client(&address);
    for _ in 0..3 {
        let error = client.manifest("a/b", &"v1".parse().expect("tag")).await.expect_err("limited");
        assert!(error.retry_at().is_some(), "{error}");
    }
    assert_eq!(log.count("GET /v2/a/b/manifests/"), 1, "a pause is kept by whoever asks");
    assert!(client.head_manifest("a/b", &"v1".parse().expect("tag")).await.is_ok());
    assert!(client.tags("a/b").await.is_ok());
}
