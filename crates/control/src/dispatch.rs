//! From a request to an answer: which operation, who calls, may they, and what comes of it.

use std::time::Instant;

use axum::extract::Request;
use berth_auth::signature::Scheme;
use berth_auth::{Access, ClientAddress};
use berth_types::{Ctx, id};
use serde_json::{Map, Value};

use crate::codes;
use crate::control::Control;
use crate::error::ApiError;
use crate::http::{Answer, Incoming, host_of};
use crate::operation::{Call, Operation};
use crate::operations::{VERSION, find};
use crate::resource::resolve;

/// Answers a request; every error becomes a body.
pub(crate) async fn dispatch(control: &Control, request: Request) -> Answer {
    let started = Instant::now();
    let request_id = request_id_of(&request);
    let host = host_of(&request);
    let mut operation = None;
    let outcome = perform(control, request, &request_id, &host, &mut operation).await;
    let action = operation.map_or("unknown", |operation: &Operation| operation.name);
    let code = outcome.as_ref().map_or_else(|error| error.code().to_owned(), |_| "success".into());
    let elapsed = started.elapsed();
    metrics::counter!("berth_api_requests_total", "action" => action, "code" => code.clone())
        .increment(1);
    metrics::histogram!("berth_api_request_seconds", "action" => action)
        .record(elapsed.as_secs_f64());
    if let Err(ApiError::Internal(reason)) = &outcome {
        tracing::error!(request_id, action, reason, "operation failed");
    }
    tracing::debug!(request_id, action, code, ?elapsed, "operation answered");
    match outcome {
        Ok(fields) => {
            let body = envelope(&request_id, fields);
            Answer::success(request_id, body)
        }
        Err(error) => Answer::error(&error, &request_id, &host),
    }
}

/// The id that the server gave the request, so that answer and log say the same.
fn request_id_of(request: &Request) -> String {
    let given = request.headers().get("x-request-id").and_then(|value| value.to_str().ok());
    given.filter(|id| !id.is_empty()).map_or_else(id::request, str::to_owned)
}

fn envelope(request_id: &str, fields: Map<String, Value>) -> Value {
    let mut body = Map::with_capacity(fields.len() + 3);
    body.insert("RequestId".to_owned(), request_id.into());
    body.insert("IsSuccess".to_owned(), true.into());
    body.insert("Code".to_owned(), "success".into());
    body.extend(fields);
    Value::Object(body)
}

async fn perform(
    control: &Control,
    request: Request,
    request_id: &str,
    host: &str,
    found: &mut Option<&'static Operation>,
) -> Result<Map<String, Value>, ApiError> {
    let address = request.extensions().get::<ClientAddress>().copied().unwrap_or_default();
    let incoming = Incoming::read(request, control.config().max_body_bytes).await?;
    let scheme = Scheme::of(&incoming.signed());
    let operation = operation_of(&incoming, scheme)?;
    *found = Some(operation);
    let credential = control.auth().authenticate(&incoming.signed(), address).await?;
    control.auth().admit(&credential.identity)?;
    let mut parameters = incoming.parameters();
    parameters.overlay(incoming.json(scheme)?);
    parameters.check()?;
    let prepared = (operation.decode)(&parameters)?;
    let ctx = Ctx::new(credential.identity.clone(), request_id.to_owned());
    let resolved = resolve(control, &ctx, operation.extent, &parameters).await?;
    control.auth().authorize(&ctx, &Access::new(operation.ram_action, &resolved.arn))?;
    let call = Call { ctx, credential, target: resolved.target?, host: host.to_owned() };
    prepared.run(control, &call).await
}

/// The row of the table that the request asks for.
fn operation_of(incoming: &Incoming, scheme: Scheme) -> Result<&'static Operation, ApiError> {
    if !["GET", "POST", "PUT"].contains(&incoming.method()) {
        return Err(ApiError::plain(codes::UNSUPPORTED_METHOD));
    }
    let (version, action) = incoming.operation(scheme);
    let action = action.ok_or_else(|| ApiError::missing("Action"))?;
    let version = version.ok_or_else(|| ApiError::missing("Version"))?;
    if version != VERSION {
        return Err(ApiError::plain(codes::INVALID_VERSION));
    }
    let operation = find(&action).ok_or_else(|| ApiError::plain(codes::ACTION_NOT_FOUND))?;
    if incoming.method() == "PUT" && !operation.methods.contains(&"PUT") {
        return Err(ApiError::plain(codes::UNSUPPORTED_METHOD));
    }
    Ok(operation)
}
