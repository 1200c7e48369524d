//! `GET …/tags/list` (OCI distribution-spec, "Listing tags").

use axum::response::{IntoResponse as _, Response};
use berth_types::Tag;
use http::header::{CONTENT_TYPE, LINK};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::call::RepositoryRequest;
use crate::convert::artifact_error;
use crate::error::{Code, OciError};
use crate::route::Permission;

/// Tags in one answer, also for clients that ask for more; the rest follows by `Link`.
const LIMIT: u64 = 10_000;

pub(crate) async fn list(call: &RepositoryRequest<'_>) -> Result<Response, OciError> {
    let query = call.query();
    let limit = match query.get("n") {
        None => LIMIT,
        Some(text) if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) => {
            return Err(OciError::new(Code::SizeInvalid, "`n` must be a number"));
        }
        // What no u64 holds is more than there is.
        Some(text) => text.parse::<u64>().unwrap_or(LIMIT).min(LIMIT),
    };
    let after = query.get("last").map(String::as_str).filter(|last| !last.is_empty());
    let repository = call.repository(Permission::Pull).await?;
    // One more than asked for tells whether there is more.
    let wanted = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut tags = call
        .artifacts()
        .tags()
        .list(&repository.repo_id, after, wanted.saturating_add(1))
        .await
        .map_err(artifact_error)?;
    let more = tags.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    tags.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = tags
        .last()
        .filter(|_| more)
        .map(|last| format!("</v2/{}/tags/list?last={last}&n={limit}>; rel=\"next\"", call.name));
    let names: Vec<&str> = tags.iter().map(Tag::as_str).collect();
    let body = json!({ "name": call.name.as_str(), "tags": names }).to_string();
    let mut response = (StatusCode::OK, [(CONTENT_TYPE, "application/json")], body).into_response();
    if let Some(next) = next.and_then(|next| HeaderValue::from_str(&next).ok()) {
        response.headers_mut().insert(LINK, next);
    }
    Ok(response)
}
