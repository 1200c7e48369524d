//! Metrics in the Prometheus text format.

mod requests;

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

pub(crate) use requests::{counters, in_flight};

/// Seconds; from a manifest out of memory to a layer over a slow line.
const DURATION_BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0];

pub(crate) const REQUESTS: &str = "berth_http_requests_total";
pub(crate) const REQUEST_DURATION: &str = "berth_http_request_duration_seconds";
pub(crate) const REQUEST_BYTES: &str = "berth_http_request_bytes_total";
pub(crate) const RESPONSE_BYTES: &str = "berth_http_response_bytes_total";
pub(crate) const IN_FLIGHT: &str = "berth_http_requests_in_flight";
pub(crate) const REFUSED: &str = "berth_refused_total";
pub(crate) const BLOBS_DAMAGED: &str = "berth_blobs_damaged";
pub(crate) const TASKS: &str = "berth_tasks";
pub(crate) const LOG_LINES_LOST: &str = "berth_log_lines_lost_total";

/// The recorder of this process; installed on first use.
pub(crate) fn handle() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(install).clone()
}

fn install() -> PrometheusHandle {
    let builder = PrometheusBuilder::new();
    let recorder = match builder.set_buckets(DURATION_BUCKETS) {
        Ok(builder) => builder.build_recorder(),
        Err(_) => PrometheusBuilder::new().build_recorder(),
    };
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!("another metrics recorder is installed; /metrics stays empty");
    }
    metrics::describe_counter!(REQUESTS, "requests answered");
    metrics::describe_histogram!(
        REQUEST_DURATION,
        metrics::Unit::Seconds,
        "time from the request's head to the last byte of the answer"
    );
    metrics::describe_counter!(REQUEST_BYTES, metrics::Unit::Bytes, "bytes of request bodies");
    metrics::describe_counter!(RESPONSE_BYTES, metrics::Unit::Bytes, "bytes of response bodies");
    metrics::describe_gauge!(IN_FLIGHT, "requests being answered");
    metrics::describe_counter!(REFUSED, "requests, bodies and connections that a limit ended");
    metrics::describe_gauge!(BLOBS_DAMAGED, "blobs in quarantine, in the whole database");
    metrics::describe_counter!(
        "berth_blobs_found_damaged_total",
        "blobs whose bytes were found to be missing or wrong"
    );
    metrics::describe_counter!("berth_blobs_repaired_total", "damaged blobs repaired, by what");
    metrics::describe_counter!(
        "berth_scrub_bytes_total",
        metrics::Unit::Bytes,
        "bytes of blobs read and hashed by scrubbing"
    );
    metrics::describe_counter!("berth_gc_collected_total", "what the collector removed");
    metrics::describe_counter!(
        "berth_gc_bytes_total",
        metrics::Unit::Bytes,
        "bytes that the collector removed from the store"
    );
    metrics::describe_histogram!(
        "berth_gc_duration_seconds",
        metrics::Unit::Seconds,
        "time that a collection took"
    );
    metrics::describe_gauge!(TASKS, "unfinished tasks by queue and state");
    metrics::describe_gauge!(
        "berth_task_slots",
        "taken slots by queue; stuck: the attempt is over, its thread is not"
    );
    metrics::describe_counter!(
        "berth_tasks_stuck_total",
        "tasks that ended because they made no progress until their deadline"
    );
    metrics::describe_counter!("berth_task_attempts_total", "attempts by how they ended");
    metrics::describe_counter!(LOG_LINES_LOST, "lines of the log that could not be written");
    handle
}

/// Keeps histograms from growing between scrapes; ends with the process's last server.
pub(crate) async fn upkeep(handle: PrometheusHandle) {
    let mut tick = tokio::time::interval(Duration::from_secs(5));
    loop {
        tick.tick().await;
        handle.run_upkeep();
    }
}
