//! `/healthz`, `/readyz` and `/metrics`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use berth_metadata::{Db, DbError, DbErrorKind};
use berth_storage::{BlobStore, StorageErrorKind};
use berth_types::Secret;
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long database and store may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer counts, so that probes do not become a load.
const FRESH: Duration = Duration::from_millis(500);

/// What the probes look at.
pub(crate) struct Health {
    pub(crate) db: Db,
    pub(crate) store: Arc<dyn BlobStore>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) metrics_token: Option<Secret>,
    pub(crate) last: Mutex<Option<Finding>>,
}

/// What the last look said.
#[derive(Clone, Copy)]
pub(crate) struct Finding {
    at: Instant,
    database: &'static str,
    storage: &'static str,
}

/// The probes: no credentials, no secrets.
pub(crate) fn probes(health: Arc<Health>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(health)
}

/// The metrics, for whoever has the token when there is one.
pub(crate) fn metrics_router(health: Arc<Health>) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(health)
}

async fn ready(State(health): State<Arc<Health>>) -> Response {
    let Finding { database, storage, .. } = health.look().await;
    let stopping = health.shutdown.is_cancelled();
    let status = if database == "ok" && storage == "ok" && !stopping {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({ "database": database, "storage": storage, "stopping": stopping });
    (status, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

impl Health {
    /// Whether database and store take writes: `ok`, or a word that `docs/operations` explains. Inner
    /// details are in the log.
    async fn look(&self) -> Finding {
        let mut last = self.last.lock().await;
        if let Some(finding) = last.filter(|finding| finding.at.elapsed() < FRESH) {
            return finding;
        }
        let (database, storage) =
            tokio::join!(timeout(PATIENCE, self.db.probe()), timeout(PATIENCE, self.store.ping()));
        let database = outcome(database, |error| match (error, error.kind()) {
            (DbError::Disk(_), _) => "sync failed",
            (_, DbErrorKind::Full) => "full",
            (_, DbErrorKind::Unavailable) => "unavailable",
            _ => "failed",
        });
        let storage = outcome(storage, |error| match error.kind() {
            StorageErrorKind::Full => "full",
            StorageErrorKind::Io => "unavailable",
            _ => "failed",
        });
        let finding = Finding { at: Instant::now(), database, storage };
        *last = Some(finding);
        finding
    }
}

fn outcome<E: std::fmt::Display>(
    result: Result<Result<(), E>, tokio::time::error::Elapsed>,
    word: impl FnOnce(&E) -> &'static str,
) -> &'static str {
    match result {
        Ok(Ok(())) => "ok",
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready");
            word(&error)
        }
        Err(_) => "timeout",
    }
}

/// Whether the request carries the token, in a time that tells nothing about it.
fn has_token(headers: &HeaderMap, token: &Secret) -> bool {
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.split_once(' '));
    given.is_some_and(|(scheme, given)| {
        scheme.eq_ignore_ascii_case("bearer") && Secret::new(given.trim()) == *token
    })
}

async fn metrics(State(health): State<Arc<Health>>, headers: HeaderMap) -> Response {
    if health.metrics_token.as_ref().is_some_and(|token| !has_token(&headers, token)) {
        let challenge = [(WWW_AUTHENTICATE, "Bearer")];
        return (StatusCode::UNAUTHORIZED, challenge, "the metrics need a token\n").into_response();
    }
    if let Err(error) = crate::tasks::measure(&health.db).await {
        tracing::warn!(%error, "cannot count tasks");
    }
    metrics::counter!(crate::metrics::LOG_LINES_LOST).absolute(crate::telemetry::lost_lines());
    let text = health.metrics.render();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
