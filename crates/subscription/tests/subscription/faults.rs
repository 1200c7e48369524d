//! What goes wrong, and what is said about it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use berth_oci::media_type;
use berth_tasks::TaskStatus;
use berth_types::Digest;

use berth_testbed::on_both_engines;

use crate::support::{INSTANCE, Target, Upstream, rule_from};

on_both_engines!(
    addresses_that_are_not_allowed_end_the_run,
    an_upstream_that_is_down_is_tried_again,
    a_missing_repository_at_the_source_is_final,
    a_dead_workers_run_is_taken_up,
    a_fault_of_one_tag_is_tried_again_and_nothing_is_asked_twice,
    a_fault_that_stays_is_told_in_the_end,
    a_running_task_is_cancelled_within_a_second,
    a_waiting_task_is_cancelled_at_once,
);

const LOOPBACK: &[&str] = &["127.0.0.0/8"];

async fn addresses_that_are_not_allowed_end_the_run(place: Target) {
    let upstream = Upstream::start().await;
    upstream.image("v1", "2024-01-01T00:00:00Z", &[b"layer".to_vec()]).await;
    let subscription = place.subscription(&["10.0.0.0/8"]);
    let _worker = place.worker(&subscription);
    for domain in [format!("http://{}", upstream.host()), "169.254.169.254".to_owned()] {
        let rule = rule_from(&domain, ".*", 1);
        let rule = subscription.create_rule(&place.ctx, INSTANCE, rule).await.expect("rule");
        let ended = place.run(&subscription, &rule).await;
        let (result, message) = ended.said();
        assert_eq!(result, "FAILED");
        assert!(message.contains("upstream.allow"), "{message}");
        assert!(ended.logged("upstream.allow") && !ended.logged("attempt 1 of"), "{ended:?}");
        assert_eq!((ended.rows.len(), ended.task.tag_total_count), (0, None));
    }
}

async fn an_upstream_that_is_down_is_tried_again(place: Target) {
    let subscription = place.subscription(LOOPBACK);
    let _worker = place.worker(&subscription);
    let port = berth_testkit::process::free_port();
    let rule = rule_from(&format!("http://127.0.0.1:{port}"), ".*", 1);
    let rule = subscription.create_rule(&place.ctx, INSTANCE, rule).await.expect("rule");
    let ended = place.run(&subscription, &rule).await;
    let (result, message) = ended.said();
    assert_eq!(result, "FAILED");
    assert!(message.contains("cannot be reached"), "{message}");
    assert!(ended.logged("attempt 1 of 3") && ended.logged("attempt 2 of 3"), "{ended:?}");
}

async fn a_missing_repository_at_the_source_is_final(place: Target) {
    let upstream = Upstream::start().await;
    let subscription = place.subscription(LOOPBACK);
    let _worker = place.worker(&subscription);
    let rule = subscription.create_rule(&place.ctx, INSTANCE, upstream.rule(".*", 1)).await;
    let ended = place.run(&subscription, &rule.expect("rule")).await;
    let (result, message) = ended.said();
    assert_eq!(result, "FAILED");
    assert!(message.contains("`source/app` not found at source"), "{message}");
    assert!(!ended.logged("attempt 1 of"), "{ended:?}");
}

async fn a_dead_workers_run_is_taken_up(place: Target) {
    let upstream = Upstream::start().await;
    let noise = |seed: u32| -> Vec<u8> {
        (0..400_000_u32).flat_map(|word| word.wrapping_mul(seed).to_le_bytes()).collect()
    };
    let mut digests = Vec::new();
    for number in 1..=6_u32 {
        let tag = format!("1.0.{number}");
        let layers = [noise(number), noise(number + 100)];
        let digest = upstream.image(&tag, "2024-01-01T00:00:00Z", &layers).await;
        digests.push((tag, digest));
    }
    // A loaded machine may cost attempts too.
    let subscription = place.subscription_of(LOOPBACK, 20);
    let rule = subscription.create_rule(&place.ctx, INSTANCE, upstream.rule("1.*", 10)).await;
    let rule = rule.expect("rule");
    let task = subscription.create_task(&place.ctx, INSTANCE, &rule).await.expect("task");
    // Workers die at several moments of the run; the next one waits for the lease to run out.
    let lease = Duration::from_secs(2);
    for pause in [60, 2200, 2350] {
        let worker = place.worker_with_lease(&subscription, lease);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        drop(worker);
    }
    let _worker = place.worker_with_lease(&subscription, lease);
    let ended = place.end_of(&subscription, &task).await;
    assert_eq!(ended.said(), ("SUCCESS", "success"), "{ended:?}");
    assert_eq!(ended.rows.len(), 6);
    for (tag, digest) in digests {
        assert_eq!(ended.row(&tag).result.as_deref(), Some("SUCCESS"));
        let pulled = place.pulled(&place.target, &tag).await.expect("pulled");
        assert_eq!(pulled.as_str(), digest);
        let copied = ended.log.iter().filter(|line| line.starts_with(&format!("{tag}: copied")));
        assert!(copied.count() <= 1, "a completed tag is not repeated: {ended:?}");
    }
}

/// An upstream with the tags v1 and v2 that answers 500 to the first `faults` requests for v2's
/// layer; gives its domain and what it was asked.
async fn flaky(faults: usize) -> (String, Arc<Mutex<Vec<String>>>) {
    let log: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&log);
    let router = Router::new().fallback(move |request: Request| {
        let asked = format!("{} {}", request.method(), request.uri());
        let mut log = kept.lock().expect("log");
        let before = log.iter().filter(|one| **one == asked).count();
        log.push(asked.clone());
        drop(log);
        let broken = asked.ends_with(Digest::sha256(b"layer of v2").as_str()) && before < faults;
        async move {
            if broken { StatusCode::INTERNAL_SERVER_ERROR.into_response() } else { answer(&asked) }
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let domain = format!("http://{}", listener.local_addr().expect("address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (domain, log)
}

/// What an upstream with the tags v1 and v2 says.
pub(crate) fn answer(asked: &str) -> Response {
    if asked.contains("/tags/list") {
        return r#"{"tags":["v1","v2"]}"#.into_response();
    }
    for tag in ["v1", "v2"] {
        let layer = format!("layer of {tag}");
        let (config, content) = (Digest::sha256(b"{}"), Digest::sha256(layer.as_bytes()));
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"{}","digest":"{config}","size":2}},
            "layers":[{{"mediaType":"{}","digest":"{content}","size":{}}}]}}"#,
            media_type::OCI_CONFIG,
            media_type::OCI_LAYER,
            layer.len()
        );
        let digest = Digest::sha256(manifest.as_bytes()).to_string();
        let content_type = ("content-type", media_type::OCI_MANIFEST.to_owned());
        let headers = [content_type, ("docker-content-digest", digest.clone())];
        if asked.ends_with(&format!("/manifests/{tag}")) || asked.ends_with(&digest) {
            return (headers, manifest).into_response();
        }
        if asked.ends_with(content.as_str()) {
            return layer.into_response();
        }
        if asked.ends_with(config.as_str()) {
            return "{}".into_response();
        }
    }
    StatusCode::NOT_FOUND.into_response()
}

async fn a_fault_of_one_tag_is_tried_again_and_nothing_is_asked_twice(place: Target) {
    let subscription = place.subscription(LOOPBACK);
    let _worker = place.worker(&subscription);
    // Two requests per attempt fail; the second attempt's second request is served.
    let (domain, log) = flaky(3).await;
    let rule = rule_from(&domain, ".*", 5);
    let rule = subscription.create_rule(&place.ctx, INSTANCE, rule).await.expect("rule");
    let ended = place.run(&subscription, &rule).await;
    assert_eq!(ended.said(), ("SUCCESS", "success"), "{ended:?}");
    assert!(ended.logged("v2: ") && ended.logged("it is tried again"), "{ended:?}");
    assert!(ended.logged("1 of 2 tags were done before"), "{ended:?}");
    assert!(place.pulled(&place.target, "v2").await.is_some());
    let asked = std::mem::take(&mut *log.lock().expect("log"));
    let count = |part: &str| asked.iter().filter(|one| one.contains(part)).count();
    // What is not here is not compared: one GET of the tag.
    assert_eq!((count("/tags/list"), count("GET /v2/source/app/manifests/v1")), (1, 1));
    assert_eq!(count("HEAD "), 0, "{asked:?}");

    // Nothing changed: the list, and a HEAD per tag.
    assert_eq!(place.run(&subscription, &rule).await.said(), ("SUCCESS", "success"));
    let mut asked = std::mem::take(&mut *log.lock().expect("log"));
    asked.sort();
    let heads = ["v1", "v2"].map(|tag| format!("HEAD /v2/source/app/manifests/{tag}"));
    let list = "GET /v2/source/app/tags/list?n=1000".to_owned();
    assert_eq!(asked, [vec![list], heads.to_vec()].concat());
}

async fn a_fault_that_stays_is_told_in_the_end(place: Target) {
    let subscription = place.subscription(LOOPBACK);
    let _worker = place.worker(&subscription);
    let (domain, _) = flaky(usize::MAX).await;
    let rule = rule_from(&domain, ".*", 5);
    let rule = subscription.create_rule(&place.ctx, INSTANCE, rule).await.expect("rule");
    let ended = place.run(&subscription, &rule).await;
    let (result, message) = ended.said();
    assert_eq!(result, "FAILED");
    assert!(message.starts_with("1 of 2 tags copied; v2: "), "{message}");
    assert!(message.contains("answered 500 for blob"), "{message}");
    assert_eq!(ended.row("v1").result.as_deref(), Some("SUCCESS"));
    assert_eq!(ended.row("v2").result.as_deref(), Some("FAILED"));
}

/// An upstream that accepts connections and says nothing.
async fn silent() -> (tokio::net::TcpListener, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let domain = format!("http://{}", listener.local_addr().expect("address"));
    (listener, domain)
}

async fn a_running_task_is_cancelled_within_a_second(place: Target) {
    let (_listener, domain) = silent().await;
    let subscription = place.subscription(LOOPBACK);
    let _worker = place.worker(&subscription);
    let rule = rule_from(&domain, ".*", 1);
    let rule = subscription.create_rule(&place.ctx, INSTANCE, rule).await.expect("rule");
    let task = subscription.create_task(&place.ctx, INSTANCE, &rule).await.expect("task");
    loop {
        let view = subscription.get_task(&place.ctx, INSTANCE, &task).await.expect("task");
        if view.status == TaskStatus::Running {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let start = Instant::now();
    subscription.cancel_task(&place.ctx, INSTANCE, &task).await.expect("cancel");
    let ended = place.end_of(&subscription, &task).await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(ended.task.status, TaskStatus::Canceled);
    assert_eq!(ended.said(), ("FAILED", "the task was cancelled"));
    assert!(ended.log.last().is_some_and(|line| line.contains("cancelled")), "{ended:?}");
    let again = subscription.cancel_task(&place.ctx, INSTANCE, &task).await;
    assert!(again.is_err_and(|error| error.to_string().contains("already ended")));
}

async fn a_waiting_task_is_cancelled_at_once(place: Target) {
    let subscription = place.subscription(LOOPBACK);
    let rule = rule_from("http://127.0.0.1:9", ".*", 1);
    let rule = subscription.create_rule(&place.ctx, INSTANCE, rule).await.expect("rule");
    let task = subscription.create_task(&place.ctx, INSTANCE, &rule).await.expect("task");
    let same = subscription.create_task(&place.ctx, INSTANCE, &rule).await.expect("task");
    assert_eq!(task, same, "one unfinished task per rule");
    let view = subscription.get_task(&place.ctx, INSTANCE, &task).await.expect("task");
    assert_eq!((view.status, view.result), (TaskStatus::Pending, None));
    subscription.cancel_task(&place.ctx, INSTANCE, &task).await.expect("cancel");
    let ended = place.end_of(&subscription, &task).await;
    assert_eq!(ended.said(), ("FAILED", "the task was cancelled"));
    let next = subscription.create_task(&place.ctx, INSTANCE, &rule).await.expect("task");
    assert_ne!(next, task);
}
