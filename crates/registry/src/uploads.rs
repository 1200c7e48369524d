//! Uploads: start, append, finish, status, cancel, mount (OCI distribution-spec, "Pushing blobs").

use std::ops::Range;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use berth_artifacts::Upload;
use berth_types::{Algorithm, Digest, RepoName};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, LOCATION, RANGE};
use http::{HeaderName, StatusCode};

use crate::blobs::CONTENT_DIGEST;
use crate::body::incoming;
use crate::call::RepositoryRequest;
use crate::convert::artifact_error;
use crate::error::{Code, OciError};
use crate::mount::try_mount;
use crate::range::{parse_content_range, received_range};
use crate::route::Permission;

const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// `POST`: mounts a blob of another repository, takes a whole blob, or opens a session.
pub(crate) async fn start(call: &RepositoryRequest<'_>, body: Body) -> Result<Response, OciError> {
    let query = call.query();
    let mount = query.get("mount").map(|text| parse_digest(text)).transpose()?;
    let digest = query.get("digest").map(|text| parse_digest(text)).transpose()?;
    let algorithm = query.get("digest-algorithm").map(|name| parse_algorithm(name)).transpose()?;
    let repository = call.repository_for_push().await?;
    check_length(call, 0, &body)?;
    if let Some(mount) = &mount
        && try_mount(call, &repository, mount, query.get("from").map(String::as_str)).await?
    {
        return Ok(created(&call.name, mount));
    }
    let uploads = call.artifacts().uploads();
    let algorithm = match (algorithm, &digest, &mount) {
        (Some(algorithm), _, _) => algorithm,
        // What could not be mounted is uploaded next, most likely.
        (None, Some(digest), _) | (None, None, Some(digest)) => digest.algorithm(),
        (None, None, None) => Algorithm::Sha256,
    };
    let upload = uploads.start_hashing(call.ctx(), &repository, algorithm).await;
    let upload = upload.map_err(artifact_error)?;
    let Some(digest) = digest else {
        return Ok(session(StatusCode::ACCEPTED, &call.name, &upload));
    };
    complete(call, upload, body, None, &digest).await
}

/// `PATCH`: appends a chunk, or streams the rest.
pub(crate) async fn append(
    call: &RepositoryRequest<'_>,
    id: &str,
    body: Body,
) -> Result<Response, OciError> {
    let chunk = chunk(call)?;
    let upload = find(call, id).await?;
    check_length(call, upload.received(), &body)?;
    let uploads = call.artifacts().uploads();
    let start = chunk.as_ref().map(|chunk| chunk.start);
    let upload = uploads.append(upload, arriving(body, chunk), start).await;
    let upload = upload.map_err(artifact_error)?;
    Ok(session(StatusCode::ACCEPTED, &call.name, &upload))
}

/// `PUT`: takes the last chunk, if there is one, and ends the upload.
pub(crate) async fn finish(
    call: &RepositoryRequest<'_>,
    id: &str,
    body: Body,
) -> Result<Response, OciError> {
    let query = call.query();
    let digest = query
        .get("digest")
        .ok_or_else(|| OciError::new(Code::DigestInvalid, "the parameter `digest` is missing"))?;
    let digest = parse_digest(digest)?;
    let chunk = chunk(call)?;
    let upload = find(call, id).await?;
    check_length(call, upload.received(), &body)?;
    complete(call, upload, body, chunk, &digest).await
}

/// `GET`: where the upload stands.
pub(crate) async fn status(call: &RepositoryRequest<'_>, id: &str) -> Result<Response, OciError> {
    let upload = find(call, id).await?;
    Ok(session(StatusCode::NO_CONTENT, &call.name, &upload))
}

/// `DELETE`: ends the upload without a blob.
pub(crate) async fn cancel(call: &RepositoryRequest<'_>, id: &str) -> Result<Response, OciError> {
    let upload = find(call, id).await?;
    call.artifacts().uploads().cancel(upload).await.map_err(artifact_error)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Refuses a body that announces more than a blob may have; what comes is counted as well.
fn check_length(call: &RepositoryRequest<'_>, received: u64, body: &Body) -> Result<(), OciError> {
    let announced = http_body::Body::size_hint(body).lower();
    let size = received.saturating_add(announced);
    call.artifacts().check_blob_size(size).map_err(artifact_error)
}

/// Which bytes of the blob the body says that it holds.
fn chunk(call: &RepositoryRequest<'_>) -> Result<Option<Range<u64>>, OciError> {
    let Some(header) = call.header(&CONTENT_RANGE) else { return Ok(None) };
    let range = parse_content_range(header).ok_or_else(|| {
        OciError::new(
            Code::BlobUploadInvalid,
            format!("Content-Range `{header}` is not of the form first-last"),
        )
    })?;
    let length: Option<u64> =
        call.header(&CONTENT_LENGTH).and_then(|text| text.trim().parse().ok());
    if length.is_some_and(|length| length != range.end - range.start) {
        return Err(OciError::new(
            Code::SizeInvalid,
            "Content-Length differs from the length of Content-Range",
        ));
    }
    Ok(Some(range))
}

/// The body of an upload. Of a chunk that gave its range, no more and no less than that: without
/// Content-Length nobody else compares the two.
fn arriving(body: Body, chunk: Option<Range<u64>>) -> BoxStream<'static, std::io::Result<Bytes>> {
    let body = incoming(body);
    let Some(mut missing) = chunk.map(|chunk| chunk.end - chunk.start) else { return body };
    let end = futures::stream::once(async { Ok(None) });
    body.map(|piece| piece.map(Some))
        .chain(end)
        .filter_map(move |piece| {
            let checked = match piece {
                Ok(Some(piece)) => match missing.checked_sub(piece.len() as u64) {
                    Some(rest) => {
                        missing = rest;
                        Some(Ok(piece))
                    }
                    None => Some(Err(std::io::Error::other("more bytes than Content-Range says"))),
                },
                Ok(None) if missing > 0 => {
                    Some(Err(std::io::Error::other("fewer bytes than Content-Range says")))
                }
                Ok(None) => None,
                Err(error) => Some(Err(error)),
            };
            futures::future::ready(checked)
        })
        .boxed()
}

async fn find(call: &RepositoryRequest<'_>, id: &str) -> Result<Upload, OciError> {
    let repository = call.repository(Permission::Push).await?;
    call.artifacts().uploads().find(call.ctx(), &repository, id).await.map_err(artifact_error)
}

async fn complete(
    call: &RepositoryRequest<'_>,
    upload: Upload,
    body: Body,
    chunk: Option<Range<u64>>,
    digest: &Digest,
) -> Result<Response, OciError> {
    let uploads = call.artifacts().uploads();
    let start = chunk.as_ref().map(|chunk| chunk.start);
    uploads
        .append_and_finish(upload, arriving(body, chunk), start, digest)
        .await
        .map_err(artifact_error)?;
    Ok(created(&call.name, digest))
}

/// The value of `digest-algorithm` (distribution-spec, "Pushing a blob in chunks").
fn parse_algorithm(name: &str) -> Result<Algorithm, OciError> {
    [Algorithm::Sha256, Algorithm::Sha512]
        .into_iter()
        .find(|algorithm| algorithm.name() == name)
        .ok_or_else(|| {
            let words = format!("digest algorithm `{name}` is not supported; use sha256 or sha512");
            OciError::new(Code::DigestInvalid, words)
        })
}

fn parse_digest(text: &str) -> Result<Digest, OciError> {
    text.parse().map_err(|error: berth_types::DigestError| {
        OciError::new(Code::DigestInvalid, error.to_string())
    })
}

/// The answer that tells where an open upload stands and where it goes on.
fn session(status: StatusCode, name: &RepoName, upload: &Upload) -> Response {
    let id = upload.id();
    let headers = [
        (LOCATION, format!("/v2/{name}/blobs/uploads/{id}")),
        (RANGE, received_range(upload.received())),
        (UPLOAD_ID, id.to_owned()),
    ];
    (status, headers).into_response()
}

fn created(name: &RepoName, digest: &Digest) -> Response {
    let headers =
        [(LOCATION, format!("/v2/{name}/blobs/{digest}")), (CONTENT_DIGEST, digest.to_string())];
    (StatusCode::CREATED, headers).into_response()
}
