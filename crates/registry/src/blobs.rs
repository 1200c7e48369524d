//! Blobs: `HEAD`, `GET` with ranges, `DELETE` (OCI distribution-spec, "Pulling blobs").

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use berth_artifacts::Blob;
use berth_types::Digest;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    IF_RANGE, RANGE,
};
use http::{HeaderName, StatusCode};

use crate::body::sized;
use crate::call::RepositoryCall;
use crate::convert::artifact_error;
use crate::error::ApiError;
use crate::range::{Asked, parse_range};
use crate::route::Action;

/// The digest of what an answer holds or made.
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const CACHE_FOREVER: &str = "private, max-age=31536000, immutable";

pub(crate) async fn head(call: &RepositoryCall<'_>, digest: &Digest) -> Result<Response, ApiError> {
    let (blob, size) = find(call, digest).await?;
    if matches_etag(call, digest) {
        return Ok(not_modified(digest));
    }
    let headers = [(CONTENT_LENGTH, size.to_string())];
    Ok((StatusCode::OK, headers, blob_headers(&blob), Body::empty()).into_response())
}

pub(crate) async fn get(call: &RepositoryCall<'_>, digest: &Digest) -> Result<Response, ApiError> {
    let (blob, size) = find(call, digest).await?;
    if matches_etag(call, digest) {
        return Ok(not_modified(digest));
    }
    // A range under the condition of another content is not a range.
    let same = call.header(&IF_RANGE).is_none_or(|value| value.trim() == etag(digest));
    let range = call.header(&RANGE).filter(|_| same);
    let (status, range) = match parse_range(range, size) {
        Asked::Whole => (StatusCode::OK, 0..size),
        Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Asked::Unsatisfiable => return Err(ApiError::unsatisfiable(size)),
    };
    let length = range.end - range.start;
    let content_range = (status == StatusCode::PARTIAL_CONTENT)
        .then(|| [(CONTENT_RANGE, format!("bytes {}-{}/{size}", range.start, range.end - 1))]);
    let stream = call.artifacts().blobs().read(&blob, range).await.map_err(artifact_error)?;
    let headers = [(CONTENT_LENGTH, length.to_string())];
    let body = sized(stream, length);
    Ok(match content_range {
        Some(range) => (status, headers, range, blob_headers(&blob), body).into_response(),
        None => (status, headers, blob_headers(&blob), body).into_response(),
    })
}

pub(crate) async fn delete(
    call: &RepositoryCall<'_>,
    digest: &Digest,
) -> Result<Response, ApiError> {
    let repository = call.repository(Action::Delete).await?;
    call.artifacts()
        .blobs()
        .delete(call.ctx(), &repository, digest)
        .await
        .map_err(artifact_error)?;
    Ok(StatusCode::ACCEPTED.into_response())
}

async fn find(call: &RepositoryCall<'_>, digest: &Digest) -> Result<(Blob, u64), ApiError> {
    let repository = call.repository(Action::Pull).await?;
    let blob = call
        .artifacts()
        .blobs()
        .stat(&repository.repo_id, digest)
        .await
        .map_err(artifact_error)?
        .ok_or_else(|| ApiError::blob_unknown(digest))?;
    let size = u64::try_from(blob.size).map_err(|error| ApiError::internal(&error))?;
    Ok((blob, size))
}

fn blob_headers(blob: &Blob) -> [(HeaderName, String); 5] {
    [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_DIGEST, blob.digest.to_string()),
        (ETAG, etag(&blob.digest)),
        (ACCEPT_RANGES, "bytes".to_owned()),
        (CACHE_CONTROL, CACHE_FOREVER.to_owned()),
    ]
}

/// The entity tag of content: its digest.
pub(crate) fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// Whether the client has this content already (RFC 9110 §13.1.2).
pub(crate) fn matches_etag(call: &RepositoryCall<'_>, digest: &Digest) -> bool {
    let etag = etag(digest);
    call.header(&IF_NONE_MATCH).is_some_and(|header| {
        header.split(',').map(str::trim).any(|candidate| {
            candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate) == etag
        })
    })
}

/// 304 for content that the client has.
pub(crate) fn not_modified(digest: &Digest) -> Response {
    let headers = [(CONTENT_DIGEST, digest.to_string()), (ETAG, etag(digest))];
    (StatusCode::NOT_MODIFIED, headers).into_response()
}
