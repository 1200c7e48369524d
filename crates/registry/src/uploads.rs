//! Uploads: start, append, finish, status, cancel, mount (OCI distribution-spec, "Pushing blobs").

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use berth_artifacts::{Repository, Upload};
use berth_types::{Digest, RepoName};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, LOCATION, RANGE};
use http::{HeaderName, StatusCode};

use crate::blobs::CONTENT_DIGEST;
use crate::body::incoming;
use crate::call::RepositoryCall;
use crate::convert::artifact_error;
use crate::error::{ApiError, Code};
use crate::range::{parse_content_range, received_range};
use crate::route::Action;

const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// `POST`: mounts a blob of another repository, takes a whole blob, or opens a session.
pub(crate) async fn start(call: &RepositoryCall<'_>, body: Body) -> Result<Response, ApiError> {
    let query = call.query();
    let mount = query.get("mount").map(|text| parse_digest(text)).transpose()?;
    let digest = query.get("digest").map(|text| parse_digest(text)).transpose()?;
    let repository = call.repository_for_push().await?;
    if let Some(mount) = mount
        && try_mount(call, &repository, &mount, query.get("from").map(String::as_str)).await?
    {
        return Ok(created(&call.name, &mount));
    }
    let uploads = call.artifacts().uploads();
    let upload = uploads.start(call.ctx(), &repository).await.map_err(artifact_error)?;
    let Some(digest) = digest else {
        return Ok(session(StatusCode::ACCEPTED, &call.name, &upload));
    };
    complete(call, upload, body, None, &digest).await
}

/// `PATCH`: appends a chunk, or streams the rest.
pub(crate) async fn append(
    call: &RepositoryCall<'_>,
    id: &str,
    body: Body,
) -> Result<Response, ApiError> {
    let start = chunk_start(call)?;
    let upload = find(call, id).await?;
    let uploads = call.artifacts().uploads();
    let upload = uploads.append(upload, incoming(body), start).await.map_err(artifact_error)?;
    Ok(session(StatusCode::ACCEPTED, &call.name, &upload))
}

/// `PUT`: takes the last chunk, if there is one, and ends the upload.
pub(crate) async fn finish(
    call: &RepositoryCall<'_>,
    id: &str,
    body: Body,
) -> Result<Response, ApiError> {
    let query = call.query();
    let digest = query
        .get("digest")
        .ok_or_else(|| ApiError::new(Code::DigestInvalid, "the parameter `digest` is missing"))?;
    let digest = parse_digest(digest)?;
    let start = chunk_start(call)?;
    let upload = find(call, id).await?;
    complete(call, upload, body, start, &digest).await
}

/// `GET`: where the upload stands.
pub(crate) async fn status(call: &RepositoryCall<'_>, id: &str) -> Result<Response, ApiError> {
    let upload = find(call, id).await?;
    Ok(session(StatusCode::NO_CONTENT, &call.name, &upload))
}

/// `DELETE`: ends the upload without a blob.
pub(crate) async fn cancel(call: &RepositoryCall<'_>, id: &str) -> Result<Response, ApiError> {
    let upload = find(call, id).await?;
    call.artifacts().uploads().cancel(upload).await.map_err(artifact_error)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Where the chunk in the body says that it starts.
fn chunk_start(call: &RepositoryCall<'_>) -> Result<Option<u64>, ApiError> {
    let Some(header) = call.header(&CONTENT_RANGE) else { return Ok(None) };
    let range = parse_content_range(header).ok_or_else(|| {
        ApiError::new(
            Code::BlobUploadInvalid,
            format!("Content-Range `{header}` is not of the form first-last"),
        )
    })?;
    let length: Option<u64> =
        call.header(&CONTENT_LENGTH).and_then(|text| text.trim().parse().ok());
    if length.is_some_and(|length| length != range.end - range.start) {
        return Err(ApiError::new(
            Code::SizeInvalid,
            "Content-Length differs from the length of Content-Range",
        ));
    }
    Ok(Some(range.start))
}

async fn find(call: &RepositoryCall<'_>, id: &str) -> Result<Upload, ApiError> {
    let repository = call.repository(Action::Push).await?;
    call.artifacts().uploads().find(call.ctx(), &repository, id).await.map_err(artifact_error)
}

async fn complete(
    call: &RepositoryCall<'_>,
    upload: Upload,
    body: Body,
    start: Option<u64>,
    digest: &Digest,
) -> Result<Response, ApiError> {
    let uploads = call.artifacts().uploads();
    uploads
        .append_and_finish(upload, incoming(body), start, digest)
        .await
        .map_err(artifact_error)?;
    Ok(created(&call.name, digest))
}

/// Links a blob of another repository into this one. A source that is missing, that the caller may
/// not read, or that lacks the blob is no error: the client uploads then.
async fn try_mount(
    call: &RepositoryCall<'_>,
    repository: &Repository,
    digest: &Digest,
    from: Option<&str>,
) -> Result<bool, ApiError> {
    let Some(from) = from else { return Ok(false) };
    let Ok(from) = from.parse::<RepoName>() else { return Ok(false) };
    let Some(source) = call.readable(&from).await? else { return Ok(false) };
    call.artifacts()
        .blobs()
        .mount(&source.repo_id, &repository.repo_id, digest)
        .await
        .map_err(artifact_error)
}

fn parse_digest(text: &str) -> Result<Digest, ApiError> {
    text.parse().map_err(|error: berth_types::DigestError| {
        ApiError::new(Code::DigestInvalid, error.to_string())
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
