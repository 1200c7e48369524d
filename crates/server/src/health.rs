//! `/healthz`, `/readyz` and `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use berth_metadata::Db;
use berth_storage::BlobStore;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const PING: Duration = Duration::from_secs(5);

/// What the probes look at.
pub(crate) struct Health {
    pub(crate) db: Db,
    pub(crate) store: Arc<dyn BlobStore>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) metrics: PrometheusHandle,
}

/// The routes of operations: no credentials, no secrets.
pub(crate) fn router(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(health))
}

async fn ready(State(health): State<Arc<Health>>) -> Response {
    let (database, storage) =
        tokio::join!(timeout(PING, health.db.ping()), timeout(PING, health.store.ping()));
    let database = outcome(database);
    let storage = outcome(storage);
    let stopping = health.shutdown.is_cancelled();
    let status = if database == "ok" && storage == "ok" && !stopping {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({ "database": database, "storage": storage, "stopping": stopping });
    (status, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// `ok`, or a word without inner details: those are in the log.
fn outcome<E: std::fmt::Display>(
    result: Result<Result<(), E>, tokio::time::error::Elapsed>,
) -> &'static str {
    match result {
        Ok(Ok(())) => "ok",
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready");
            "failed"
        }
        Err(_) => "timeout",
    }
}

async fn metrics(State(health): State<Arc<Health>>) -> Response {
    if let Err(error) = crate::tasks::measure(&health.db).await {
        tracing::warn!(%error, "cannot count tasks");
    }
    let text = health.metrics.render();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
