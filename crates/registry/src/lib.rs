//! The data plane: OCI Distribution under `/v2/` and docker's token endpoint.
//!
//! Owns the wire form: routes, headers, ranges, challenges and error documents. Must not decide
//! what an artifact is (that is `berth-artifacts`), nor who may do what (`berth-auth`): a handler
//! reads the request, asks for permission, calls one service and renders what it says.
//!
//! Entry points: [`Registry`], [`router`], [`parse_route`].

mod access;
mod blobs;
mod body;
mod call;
mod convert;
mod error;
mod manifests;
mod mount;
mod origin;
mod range;
mod referrers;
mod route;
mod scope;
mod tags;
mod token;
mod uploads;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use berth_artifacts::{Artifacts, Instance};
use berth_auth::{Auth, service_name};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::access::Caller;
pub use crate::body::FileBody;
use crate::call::RegistryRequest;
pub use crate::error::{Code, OciError};
pub use crate::origin::{Origin, clean_host, request_host};
pub use crate::route::{Endpoint, Permission, Route, RouteError, parse_route};

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// The largest manifest (OCI distribution-spec, "Pushing manifests": at least 4 MiB).
pub(crate) const MANIFEST_LIMIT: usize = 4 << 20;

/// The data plane's parts.
pub struct Registry {
    artifacts: Artifacts,
    auth: Auth,
    /// The names of instances in tokens, by instance id.
    services: RwLock<HashMap<String, Arc<str>>>,
}

impl Registry {
    pub fn new(artifacts: Artifacts, auth: Auth) -> Self {
        Self { artifacts, auth, services: RwLock::default() }
    }

    /// The service name of an instance, made once.
    fn service_of(&self, instance: &Instance) -> Arc<str> {
        let id = &instance.instance_id;
        let services = self.services.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(service) = services.get(id) {
            return Arc::clone(service);
        }
        drop(services);
        let service: Arc<str> = service_name(&instance.region, id).into();
        let mut services = self.services.write().unwrap_or_else(PoisonError::into_inner);
        services.insert(id.clone(), Arc::clone(&service));
        service
    }
}

/// What a request was about, for metrics; in the extensions of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteLabel(pub &'static str);

/// The routes `/v2/…` and `/auth/token` (also `/auth`).
pub fn router(registry: Arc<Registry>) -> Router {
    Router::new()
        .route("/v2", any(serve))
        .route("/v2/", any(serve))
        .route("/v2/{*rest}", any(serve))
        .route("/auth", get(token::get).post(token::post))
        .route("/auth/token", get(token::get).post(token::post))
        .with_state(registry)
}

async fn serve(State(registry): State<Arc<Registry>>, request: Request) -> Response {
    let route = parse_route(request.method(), request.uri().path());
    let label = match &route {
        Ok(Route::Ping) => "ping",
        Ok(Route::Catalog) => "catalog",
        Ok(Route::Repository { endpoint, .. }) => endpoint.label(),
        Err(_) => "invalid",
    };
    let answer = match route {
        Ok(route) => dispatch(&registry, route, request).await,
        Err(error) => Err(error.into()),
    };
    let mut response = answer.unwrap_or_else(OciError::into_response);
    response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    response.extensions_mut().insert(RouteLabel(label));
    response
}

async fn dispatch(
    registry: &Registry,
    route: Route,
    request: Request,
) -> Result<Response, OciError> {
    // Nothing else in an address becomes a NUL character.
    let address = [Some(request.uri().path()), request.uri().query()];
    if address.into_iter().flatten().any(|part| part.contains("%00")) {
        return Err(OciError::nul("the address"));
    }
    let (parts, body) = request.into_parts();
    let call = RegistryRequest::open(registry, parts).await?;
    let (name, endpoint) = match route {
        Route::Ping => return ping(&call),
        Route::Catalog => {
            return Err(OciError::new(
                Code::Unsupported,
                "the catalog is not offered; list \
                repositories with ListRepository",
            ));
        }
        Route::Repository { name, endpoint } => (name, endpoint),
    };
    let call = call.about(name);
    match endpoint {
        Endpoint::HeadBlob(digest) => blobs::head(&call, &digest).await,
        Endpoint::GetBlob(digest) => blobs::get(&call, &digest).await,
        Endpoint::DeleteBlob(digest) => blobs::delete(&call, &digest).await,
        Endpoint::StartUpload => uploads::start(&call, body).await,
        Endpoint::UploadStatus(id) => uploads::status(&call, &id).await,
        Endpoint::AppendUpload(id) => uploads::append(&call, &id, body).await,
        Endpoint::FinishUpload(id) => uploads::finish(&call, &id, body).await,
        Endpoint::CancelUpload(id) => uploads::cancel(&call, &id).await,
        Endpoint::HeadManifest(reference) => manifests::head(&call, &reference).await,
        Endpoint::GetManifest(reference) => manifests::get(&call, &reference).await,
        Endpoint::PutManifest(reference) => manifests::put(&call, reference, body).await,
        Endpoint::DeleteManifest(reference) => manifests::delete(&call, &reference).await,
        Endpoint::ListTags => tags::list(&call).await,
        Endpoint::ListReferrers(digest) => referrers::list(&call, &digest).await,
    }
}

/// `GET /v2/`: whoever is logged in, also with a token for nothing, is told so.
fn ping(call: &RegistryRequest<'_>) -> Result<Response, OciError> {
    if matches!(call.caller(), Caller::Nobody) {
        return Err(call.challenge(None, None, "authentication required"));
    }
    let json = [(http::header::CONTENT_TYPE, "application/json")];
    Ok((StatusCode::OK, json, "{}").into_response())
}
