//! [`Control`]: what the actions work with, and the router over it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use berth_artifacts::Artifacts;
use berth_auth::Auth;
use berth_builder::Builder;
use berth_maintenance::Maintenance;
use berth_subscription::Subscription;

use crate::{dispatch, http};

/// What can be configured about the control plane.
#[derive(Debug, Clone)]
pub struct ControlConfig {
    /// The region in resource names.
    pub region: String,
    /// The host names by which clients reach the registry; empty takes the one that the caller of
    /// an operation used.
    pub domains: Vec<String>,
    /// Larger bodies are refused.
    pub max_body_bytes: usize,
}

impl Default for ControlConfig {
    fn default() -> Self {
        Self { region: "local".to_owned(), domains: Vec::new(), max_body_bytes: 1 << 20 }
    }
}

/// The control plane.
pub struct Control {
    artifacts: Artifacts,
    builder: Builder,
    subscription: Subscription,
    maintenance: Maintenance,
    auth: Auth,
    config: ControlConfig,
}

impl Control {
    pub fn new(
        artifacts: Artifacts,
        builder: Builder,
        subscription: Subscription,
        maintenance: Maintenance,
        auth: Auth,
        config: ControlConfig,
    ) -> Self {
        Self { artifacts, builder, subscription, maintenance, auth, config }
    }

    pub(crate) fn artifacts(&self) -> &Artifacts {
        &self.artifacts
    }

    pub(crate) fn maintenance(&self) -> &Maintenance {
        &self.maintenance
    }

    pub(crate) fn builder(&self) -> &Builder {
        &self.builder
    }

    pub(crate) fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    pub(crate) fn auth(&self) -> &Auth {
        &self.auth
    }

    pub(crate) fn region(&self) -> &str {
        &self.config.region
    }

    pub(crate) fn config(&self) -> &ControlConfig {
        &self.config
    }
}

/// The RPC API on `/`. Every method is routed, so that also a wrong one gets a JSON answer.
pub fn router(control: Arc<Control>) -> Router {
    Router::new().route("/", any(answer)).with_state(control)
}

async fn answer(State(control): State<Arc<Control>>, request: Request) -> Response {
    http::render(&dispatch::dispatch(&control, request).await)
}
