//! The token endpoint: `GET` with Basic credentials or none, `POST` as OAuth2 form
//! (distribution, "Token Authentication Specification" and "OAuth2 Token Authentication").

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use berth_artifacts::Instance;
use berth_auth::{Grant, TEMP_USERNAME};
use berth_types::{Ctx, Identity, Principal};
use chrono::{DateTime, SecondsFormat};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use serde_json::json;

use crate::access::{Caller, Refused, authenticate, login};
use crate::call::{find_repository, is_allowed, is_public};
use crate::convert::artifact_error;
use crate::error::{ApiError, Code};
use crate::route::Action;
use crate::scope::{DISCOVERY_ACTION, DISCOVERY_KIND, DISCOVERY_NAME, Scope, asks_discovery};
use crate::{Origin, Registry, RouteLabel};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORM_LIMIT: usize = 64 << 10;
/// How long a refresh token holds; a client asks for one by `access_type=offline`.
const REFRESH_TOKEN_TTL: Duration = Duration::from_secs(24 * 3600);

pub(crate) async fn get(State(registry): State<Arc<Registry>>, request: Request) -> Response {
    finish(by_query(&registry, &request.map(drop)).await)
}

pub(crate) async fn post(State(registry): State<Arc<Registry>>, request: Request) -> Response {
    finish(by_form(&registry, request).await)
}

fn finish(answer: Result<Response, ApiError>) -> Response {
    let mut response = answer.unwrap_or_else(ApiError::into_response);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.extensions_mut().insert(RouteLabel("token"));
    response
}

type Parameters = Vec<(String, String)>;

async fn by_query(registry: &Registry, request: &http::Request<()>) -> Result<Response, ApiError> {
    let instance = instance_of(registry, request).await?;
    let service = registry.service_of(&instance);
    let query = request.uri().query().unwrap_or_default();
    let parameters: Parameters =
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let caller =
        authenticate(&registry.auth, request.headers(), &service, &instance.instance_id).await;
    let identity = match caller.map_err(refused)? {
        Caller::Nobody => Identity::anonymous(),
        Caller::Login(identity) => identity,
        // A token is no credential: it would live for ever by renewing itself.
        Caller::Token(_) => return Err(refused(Refused::Malformed)),
    };
    issue(registry, &instance, identity, &parameters, request_id(request)).await
}

async fn by_form(registry: &Registry, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let request = http::Request::from_parts(parts, ());
    let instance = instance_of(registry, &request).await?;
    let request_id = request_id(&request);
    let parameters = read_form(body).await?;
    let text = |name: &str| first(&parameters, name);
    let missing = |name: &str| {
        ApiError::new(Code::Unauthorized, format!("the parameter `{name}` is missing"))
    };
    let (username, password) = match text("grant_type") {
        Some("password") => (
            text("username").ok_or_else(|| missing("username"))?,
            text("password").ok_or_else(|| missing("password"))?,
        ),
        Some("refresh_token") => {
            (TEMP_USERNAME, text("refresh_token").ok_or_else(|| missing("refresh_token"))?)
        }
        _ => {
            return Err(ApiError::new(
                Code::Unsupported,
                "grant_type must be password or refresh_token",
            ));
        }
    };
    let identity =
        login(&registry.auth, username, password, &instance.instance_id).await.map_err(refused)?;
    issue(registry, &instance, identity, &parameters, request_id).await
}

/// A token for what was asked for and is allowed; what is not allowed is left out, never an error.
async fn issue(
    registry: &Registry,
    instance: &Instance,
    identity: Identity,
    parameters: &Parameters,
    request_id: String,
) -> Result<Response, ApiError> {
    let ctx = Ctx::new(identity, request_id);
    registry.auth.admit(&ctx.identity)?;
    let scopes = parameters.iter().filter(|(name, _)| name == "scope");
    let texts: Vec<&str> = scopes.map(|(_, value)| value.as_str()).collect();
    let scopes = Scope::parse_all(texts.iter().copied());
    let mut grants = Vec::with_capacity(scopes.len());
    if asks_discovery(texts) {
        grants.push(discovery(&ctx));
    }
    for scope in scopes {
        grants.push(grant(registry, &ctx, instance, &scope).await?);
    }
    let service = registry.service_of(instance);
    let issued = registry
        .auth
        .issue_token(&ctx.identity, &service, grants)
        .map_err(|error| ApiError::internal(&error))?;
    let mut body = json!({
        "token": issued.token,
        "access_token": issued.token,
        "expires_in": issued.expires_in,
        "issued_at": rfc3339(issued.issued_at),
    });
    match first(parameters, "refresh_token") {
        Some(token) => body["refresh_token"] = json!(token),
        None if first(parameters, "access_type") == Some("offline") => {
            let issued = registry.auth.issue_temp_password(
                &ctx.identity,
                &instance.instance_id,
                REFRESH_TOKEN_TTL,
            );
            if let Some((token, _)) = issued {
                body["refresh_token"] = json!(token);
            }
        }
        None => {}
    }
    let json = [(CONTENT_TYPE, "application/json")];
    Ok((StatusCode::OK, json, body.to_string()).into_response())
}

/// Whoever has a name may have sources of mounts found for it; each one is checked when it is used.
fn discovery(ctx: &Ctx) -> Grant {
    let known = !matches!(ctx.identity.principal, Principal::Anonymous);
    Grant {
        kind: DISCOVERY_KIND.to_owned(),
        name: DISCOVERY_NAME.to_owned(),
        actions: known.then(|| DISCOVERY_ACTION.to_owned()).into_iter().collect(),
    }
}

async fn grant(
    registry: &Registry,
    ctx: &Ctx,
    instance: &Instance,
    scope: &Scope,
) -> Result<Grant, ApiError> {
    // Only the anonymous caller's rights hang on what the repository is.
    let public = match ctx.identity.principal {
        Principal::Anonymous => find_repository(registry, instance, &scope.name)
            .await?
            .is_some_and(|repository| is_public(&repository)),
        Principal::Root | Principal::System => false,
    };
    let allowed =
        |action: &&Action| is_allowed(registry, ctx, instance, &scope.name, **action, public);
    let actions = scope.actions.iter().filter(allowed);
    Ok(Grant {
        kind: "repository".to_owned(),
        name: scope.name.to_string(),
        actions: actions.map(|action| action.name().to_owned()).collect(),
    })
}

async fn instance_of(
    registry: &Registry,
    request: &http::Request<()>,
) -> Result<Arc<Instance>, ApiError> {
    let origin = Origin::of(request);
    registry.artifacts.instances().by_host(origin.host_name()).await.map_err(artifact_error)
}

fn request_id(request: &http::Request<()>) -> String {
    let header = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    header.map_or_else(berth_types::id::request, str::to_owned)
}

fn refused(refused: Refused) -> ApiError {
    match refused {
        Refused::Internal(error) => ApiError::authentication(&error),
        Refused::Malformed => ApiError::new(Code::Unauthorized, "cannot read the credentials"),
        Refused::Password | Refused::Token(_) => {
            ApiError::new(Code::Unauthorized, "user name or password is not valid").about_a_secret()
        }
    }
}

fn first<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a str> {
    parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

async fn read_form(body: Body) -> Result<Parameters, ApiError> {
    let collected = Limited::new(body, FORM_LIMIT)
        .collect()
        .await
        .map_err(|_| ApiError::new(Code::Unsupported, "the form cannot be read or is too long"))?;
    Ok(url::form_urlencoded::parse(&collected.to_bytes()).into_owned().collect())
}

/// Milliseconds since the epoch as `1970-01-01T00:00:00Z`.
fn rfc3339(milliseconds: i64) -> String {
    DateTime::from_timestamp_millis(milliseconds)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Secs, true)
}
