//! Manifests by tag and by digest (OCI distribution-spec, "Pulling manifests", "Pushing manifests").

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use berth_artifacts::{ManifestPush, Promise, PushOptions, StoredManifest};
use berth_types::{Reference, Tag};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, EXPECT, LOCATION};
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt as _;

use crate::MANIFEST_LIMIT;
use crate::blobs::{CONTENT_DIGEST, etag, matches_etag, not_modified};
use crate::call::RepositoryRequest;
use crate::convert::artifact_error;
use crate::error::{Code, OciError};
use crate::route::Permission;

/// Bytes of a body that is too long to be a manifest which are still read.
const DISCARDED: usize = 8 * MANIFEST_LIMIT;

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const PUSHED_TAG: HeaderName = HeaderName::from_static("oci-tag");

pub(crate) async fn head(
    call: &RepositoryRequest<'_>,
    reference: &Reference,
) -> Result<Response, OciError> {
    let manifest = call.manifest(reference, Promise::Keep).await?;
    if matches_etag(call, &manifest.digest) {
        return Ok(not_modified(&manifest.digest));
    }
    Ok((StatusCode::OK, manifest_headers(&manifest), Body::empty()).into_response())
}

pub(crate) async fn get(
    call: &RepositoryRequest<'_>,
    reference: &Reference,
) -> Result<Response, OciError> {
    let manifest = call.manifest(reference, Promise::None).await?;
    if matches_etag(call, &manifest.digest) {
        return Ok(not_modified(&manifest.digest));
    }
    let headers = manifest_headers(&manifest);
    Ok((StatusCode::OK, headers, Body::from(manifest.content.clone())).into_response())
}

pub(crate) async fn put(
    call: &RepositoryRequest<'_>,
    reference: Reference,
    body: Body,
) -> Result<Response, OciError> {
    let extra_tags = extra_tags(call, &reference)?;
    let repository = call.repository_for_push().await?;
    let waits = call.header(&EXPECT).is_some();
    let body = read_limited(body, waits).await?;
    let content_type = call.header(&CONTENT_TYPE);
    let location = format!("/v2/{}/manifests/{reference}", call.name);
    let tags = extra_tags.clone();
    let options = PushOptions { extra_tags, ..PushOptions::default() };
    let (repository, reference) = (&repository, &reference);
    let push = ManifestPush { repository, reference, content_type, body, options };
    let pushed = call.artifacts().manifests().push(call.ctx(), push).await;
    let pushed = pushed.map_err(artifact_error)?;
    let headers = [(LOCATION, location), (CONTENT_DIGEST, pushed.digest.to_string())];
    let mut response = (StatusCode::CREATED, headers).into_response();
    let mut append = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().append(name, value);
        }
    };
    if let Some(subject) = &pushed.subject {
        append(SUBJECT, subject.as_str());
    }
    for tag in &tags {
        append(PUSHED_TAG, tag.as_str());
    }
    Ok(response)
}

pub(crate) async fn delete(
    call: &RepositoryRequest<'_>,
    reference: &Reference,
) -> Result<Response, OciError> {
    let repository = call.repository(Permission::Delete).await?;
    let (artifacts, ctx) = (call.artifacts(), call.ctx());
    match reference {
        Reference::Tag(tag) => artifacts.tags().delete(ctx, &repository, tag).await,
        Reference::Digest(digest) => artifacts.manifests().delete(ctx, &repository, digest).await,
    }
    .map_err(artifact_error)?;
    Ok(StatusCode::ACCEPTED.into_response())
}

fn manifest_headers(manifest: &StoredManifest) -> [(HeaderName, String); 4] {
    [
        (CONTENT_TYPE, manifest.media_type.clone()),
        (CONTENT_LENGTH, manifest.content.len().to_string()),
        (CONTENT_DIGEST, manifest.digest.to_string()),
        (ETAG, etag(&manifest.digest)),
    ]
}

/// The `tag` parameters of a push by digest (distribution-spec, "Pushing manifests with tags").
fn extra_tags(call: &RepositoryRequest<'_>, reference: &Reference) -> Result<Vec<Tag>, OciError> {
    let mut tags = Vec::new();
    if matches!(reference, Reference::Tag(_)) {
        return Ok(tags);
    }
    for (_, value) in call.query_pairs().iter().filter(|(name, _)| name == "tag") {
        let tag = value.parse().map_err(|error: berth_types::NameError| {
            OciError::new(Code::TagInvalid, error.to_string())
        })?;
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    Ok(tags)
}

/// The whole body, as long as it is not longer than a manifest may be. Of one that is too long the
/// rest is taken off the wire as well, within reason, unless the client `waits` to be told to send:
/// one that is still sending when the connection closes never reads why.
async fn read_limited(mut body: Body, waits: bool) -> Result<Bytes, OciError> {
    let too_large = || {
        let words = format!("a manifest may have {MANIFEST_LIMIT} bytes");
        OciError::new(Code::ManifestTooLarge, words)
    };
    let announced = http_body::Body::size_hint(&body).lower();
    let announced = usize::try_from(announced).unwrap_or(usize::MAX);
    if announced > DISCARDED || (waits && announced > MANIFEST_LIMIT) {
        return Err(too_large());
    }
    let mut whole = BytesMut::new();
    let mut received = 0usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            OciError::new(Code::ManifestInvalid, format!("cannot read the manifest: {error}"))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        received = received.saturating_add(data.len());
        if received <= MANIFEST_LIMIT {
            whole.extend_from_slice(&data);
        } else if received > DISCARDED {
            break;
        } else {
            whole.clear();
        }
    }
    if received > MANIFEST_LIMIT { Err(too_large()) } else { Ok(whole.freeze()) }
}
