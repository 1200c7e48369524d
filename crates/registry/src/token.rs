//! The token endpoint: `GET` with Basic credentials or none, `POST` as OAuth2 form
//! (distribution, "Token Authentication Specification" and "OAuth2 Token Authentication").

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use berth_artifacts::Instance;
use berth_auth::{Credential, Grant};
use berth_types::{Ctx, Principal};
use chrono::{DateTime, SecondsFormat};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use serde_json::json;

use crate::access::{Caller, Refused, address_of, authenticate};
use crate::call::{find_repository, is_allowed, is_public};
use crate::convert::artifact_error;
use crate::error::{Code, OciError};
use crate::route::Permission;
use crate::scope::{DISCOVERY_ACTION, DISCOVERY_KIND, DISCOVERY_NAME, Scope, asks_discovery};
use crate::{Origin, Registry, RouteLabel};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORM_LIMIT: usize = 64 << 10;

pub(crate) async fn get(State(registry): State<Arc<Registry>>, request: Request) -> Response {
    finish(by_query(&registry, &request.map(drop)).await)
}

pub(crate) async fn post(State(registry): State<Arc<Registry>>, request: Request) -> Response {
    finish(by_form(&registry, request).await)
}

fn finish(answer: Result<Response, OciError>) -> Response {
    let mut response = answer.unwrap_or_else(OciError::into_response);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.extensions_mut().insert(RouteLabel("token"));
    response
}

type Parameters = Vec<(String, String)>;

async fn by_query(registry: &Registry, request: &http::Request<()>) -> Result<Response, OciError> {
    let instance = instance_of(registry, request).await?;
    let service = registry.service_of(&instance);
    let query = request.uri().query().unwrap_or_default();
    let parameters: Parameters =
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let (address, instance_id) = (address_of(request.extensions()), &instance.instance_id);
    storable(&parameters)?;
    let caller =
        authenticate(&registry.auth, request.headers(), &service, instance_id, address).await;
    let credential = match caller.map_err(refused)? {
        Caller::Nobody => Credential::anonymous(),
        Caller::Login(credential) => credential,
        // A token is no credential: it would live for ever by renewing itself.
        Caller::Token(_) => return Err(refused(Refused::Malformed)),
    };
    issue(registry, &instance, credential, &parameters, None, request_id(request)).await
}

async fn by_form(registry: &Registry, request: Request) -> Result<Response, OciError> {
    let (parts, body) = request.into_parts();
    let request = http::Request::from_parts(parts, ());
    let instance = instance_of(registry, &request).await?;
    let request_id = request_id(&request);
    let address = address_of(request.extensions());
    let parameters = read_form(body).await?;
    storable(&parameters)?;
    let text = |name: &str| first(&parameters, name);
    let missing = |name: &str| {
        OciError::new(Code::Unauthorized, format!("the parameter `{name}` is missing"))
    };
    let (auth, instance_id) = (&registry.auth, &instance.instance_id);
    let (login, renewing) = match text("grant_type") {
        Some("password") => {
            let username = text("username").ok_or_else(|| missing("username"))?;
            let password = text("password").ok_or_else(|| missing("password"))?;
            (auth.login(username, password, instance_id, address).await, None)
        }
        Some("refresh_token") => {
            let token = text("refresh_token").ok_or_else(|| missing("refresh_token"))?;
            (auth.refresh(token, instance_id, address).await, Some(token))
        }
        _ => {
            return Err(OciError::new(
                Code::Unsupported,
                "grant_type must be password or refresh_token",
            ));
        }
    };
    let credential = login.map_err(|error| refused(error.into()))?;
    issue(registry, &instance, credential, &parameters, renewing, request_id).await
}

/// A token for what was asked for and is allowed; what is not allowed is left out, never an error.
/// `renewing` is the refresh token that the caller came with.
async fn issue(
    registry: &Registry,
    instance: &Instance,
    credential: Credential,
    parameters: &Parameters,
    renewing: Option<&str>,
    request_id: String,
) -> Result<Response, OciError> {
    let ctx = Ctx::new(credential.identity.clone(), request_id);
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
        .issue_token(&credential, &service, grants)
        .map_err(|error| OciError::internal(&error))?;
    let mut body = json!({
        "token": issued.token,
        "access_token": issued.token,
        "expires_in": issued.expires_in,
        "issued_at": rfc3339(issued.issued_at),
    });
    // A refresh token renews what it is for, never itself.
    let offline = first(parameters, "access_type") == Some("offline");
    let refresh_token = match renewing {
        Some(token) => Some(token.to_owned()),
        None if offline => registry.auth.issue_refresh_token(&credential, &instance.instance_id),
        None => None,
    };
    if let Some(token) = refresh_token {
        body["refresh_token"] = json!(token);
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
) -> Result<Grant, OciError> {
    // Only the anonymous caller's rights hang on what the repository is.
    let public = match ctx.identity.principal {
        Principal::Anonymous => find_repository(registry, instance, &scope.name)
            .await?
            .is_some_and(|repository| is_public(&repository)),
        Principal::Root | Principal::System => false,
    };
    let allowed =
        |action: &&Permission| is_allowed(registry, ctx, instance, &scope.name, **action, public);
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
) -> Result<Arc<Instance>, OciError> {
    let origin = Origin::of(request);
    registry.artifacts.instances().by_host(origin.host_name()).await.map_err(artifact_error)
}

fn request_id(request: &http::Request<()>) -> String {
    let header = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    header.map_or_else(berth_types::id::request, str::to_owned)
}

fn refused(refused: Refused) -> OciError {
    match refused {
        Refused::Internal(error) => OciError::authentication(&error),
        Refused::Malformed => OciError::new(Code::Unauthorized, "cannot read the credentials"),
        Refused::Guessing(throttled) => OciError::guessing(throttled),
        Refused::Password | Refused::Token(_) => {
            OciError::new(Code::Unauthorized, "user name or password is not valid")
        }
    }
}

fn first<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a str> {
    parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

fn storable(parameters: &Parameters) -> Result<(), OciError> {
    let nul = |text: &str| text.contains('\0');
    match parameters.iter().find(|(name, value)| nul(name) || nul(value)) {
        Some(_) => Err(OciError::nul("a parameter")),
        None => Ok(()),
    }
}

async fn read_form(body: Body) -> Result<Parameters, OciError> {
    let collected = Limited::new(body, FORM_LIMIT)
        .collect()
        .await
        .map_err(|_| OciError::new(Code::Unsupported, "the form cannot be read or is too long"))?;
    Ok(url::form_urlencoded::parse(&collected.to_bytes()).into_owned().collect())
}

/// Milliseconds since the epoch as `1970-01-01T00:00:00Z`.
fn rfc3339(milliseconds: i64) -> String {
    DateTime::from_timestamp_millis(milliseconds)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Secs, true)
}
