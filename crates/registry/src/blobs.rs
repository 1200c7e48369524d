//! Blobs: `HEAD`, `GET` with ranges, `DELETE` (OCI distribution-spec, "Pulling blobs").

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use berth_artifacts::{Blob, Promise};
use berth_types::Digest;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    IF_RANGE, LOCATION, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::body::sized;
use crate::call::RepositoryRequest;
use crate::convert::artifact_error;
use crate::error::OciError;
use crate::range::{Asked, parse_range};
use crate::route::Permission;

/// The digest of what an answer holds or made.
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const CACHE_FOREVER: &str = "private, max-age=31536000, immutable";

pub(crate) async fn head(
    call: &RepositoryRequest<'_>,
    digest: &Digest,
) -> Result<Response, OciError> {
    let (blob, size) = find(call, digest, Promise::Keep).await?;
    if matches_etag(call, digest) {
        return Ok(not_modified(digest));
    }
    let mut response = Response::new(Body::empty());
    describe(response.headers_mut(), &blob, size);
    Ok(response)
}

pub(crate) async fn get(
    call: &RepositoryRequest<'_>,
    digest: &Digest,
) -> Result<Response, OciError> {
    let (blob, size) = find(call, digest, Promise::None).await?;
    if matches_etag(call, digest) {
        return Ok(not_modified(digest));
    }
    // A range under the condition of another content is not a range.
    let same = call.header(&IF_RANGE).is_none_or(|value| value.trim() == etag(digest));
    let range = call.header(&RANGE).filter(|_| same);
    let (status, range) = match parse_range(range, size) {
        Asked::Whole => (StatusCode::OK, 0..size),
        Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Asked::Unsatisfiable => return Err(OciError::unsatisfiable(size)),
    };
    if let Some(url) =
        call.artifacts().blobs().redirect(&blob, call.until()).await.map_err(artifact_error)?
    {
        return Ok(redirected(digest, url));
    }
    let length = range.end - range.start;
    let stream =
        call.artifacts().blobs().read(&blob, range.clone()).await.map_err(artifact_error)?;
    let mut response = sized(stream, length);
    *response.status_mut() = status;
    describe(response.headers_mut(), &blob, length);
    if status == StatusCode::PARTIAL_CONTENT {
        let text = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        response.headers_mut().insert(CONTENT_RANGE, value(text));
    }
    Ok(response)
}

pub(crate) async fn delete(
    call: &RepositoryRequest<'_>,
    digest: &Digest,
) -> Result<Response, OciError> {
    let repository = call.repository(Permission::Delete).await?;
    call.artifacts()
        .blobs()
        .delete(call.ctx(), &repository, digest)
        .await
        .map_err(artifact_error)?;
    Ok(StatusCode::ACCEPTED.into_response())
}

async fn find(
    call: &RepositoryRequest<'_>,
    digest: &Digest,
    promise: Promise,
) -> Result<(Arc<Blob>, u64), OciError> {
    let blob = call.blob(digest, promise).await?;
    let size = u64::try_from(blob.size).map_err(|error| OciError::internal(&error))?;
    Ok((blob, size))
}

/// The headers of an answer that holds, or stands for, `length` bytes of a blob.
fn describe(headers: &mut HeaderMap, blob: &Blob, length: u64) {
    headers.reserve(8);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(CONTENT_DIGEST, value(blob.digest.to_string()));
    headers.insert(ETAG, value(etag(&blob.digest)));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(CACHE_FOREVER));
}

/// 307 to where the store hands out the same bytes, the same ranges of them, for a while.
fn redirected(digest: &Digest, url: String) -> Response {
    let no_store = HeaderValue::from_static("private, no-store");
    let headers = [
        (LOCATION, value(url)),
        (CONTENT_DIGEST, value(digest.to_string())),
        (CACHE_CONTROL, no_store),
    ];
    (StatusCode::TEMPORARY_REDIRECT, headers).into_response()
}

/// A header's value out of digits, hexadecimal digits and punctuation.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// The entity tag of content: its digest.
pub(crate) fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// Whether the client has this content already (RFC 9110 §13.1.2).
pub(crate) fn matches_etag(call: &RepositoryRequest<'_>, digest: &Digest) -> bool {
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
