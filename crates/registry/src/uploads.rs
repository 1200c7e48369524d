//! Uploads: start, append, finish, status, cancel, mount (OCI distribution-spec, "Pushing blobs").

use std::collections::BTreeMap;
use std::ops::Range;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use berth_artifacts::{Artifacts, Upload};
use berth_metadata::repos::repository::Repository;
use berth_types::{Ctx, Digest, RepoName};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, LOCATION, RANGE};
use http::{HeaderName, StatusCode};
use http_body::Body as _;

use crate::blobs::CONTENT_DIGEST;
use crate::body::incoming;
use crate::call::RepositoryCall;
use crate::convert::artifact_error;
use crate::detached::detached;
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
    let artifacts = call.artifacts().clone();
    let ctx = call.ctx().clone();
    let upload = artifacts.start_upload(&ctx, &repository).await.map_err(artifact_error)?;
    let Some(digest) = digest else {
        return Ok(session(StatusCode::ACCEPTED, &call.name, &upload));
    };
    let work = complete(artifacts, ctx, upload, body, Chunk::default(), digest.clone());
    detached(work).await?;
    Ok(created(&call.name, &digest))
}

/// `PATCH`: appends a chunk, or streams the rest.
pub(crate) async fn append(
    call: &RepositoryCall<'_>,
    id: &str,
    body: Body,
) -> Result<Response, ApiError> {
    let chunk = Chunk::of(call)?;
    let mut upload = find(call, id).await?;
    let (artifacts, ctx) = (call.artifacts().clone(), call.ctx().clone());
    let upload = detached(async move {
        receive(&artifacts, &ctx, &mut upload, body, &chunk).await?;
        Ok(upload)
    })
    .await?;
    Ok(session(StatusCode::ACCEPTED, &call.name, &upload))
}

/// `PUT`: takes the last chunk, if there is one, and ends the upload.
pub(crate) async fn finish(
    call: &RepositoryCall<'_>,
    id: &str,
    body: Body,
) -> Result<Response, ApiError> {
    let query: BTreeMap<_, _> = call.query();
    let digest = query.get("digest").ok_or_else(|| {
        ApiError::new(Code::DigestInvalid, "the parameter `digest` is missing")
    })?;
    let digest = parse_digest(digest)?;
    let chunk = Chunk::of(call)?;
    let upload = find(call, id).await?;
    let (artifacts, ctx) = (call.artifacts().clone(), call.ctx().clone());
    detached(complete(artifacts, ctx, upload, body, chunk, digest.clone())).await?;
    Ok(created(&call.name, &digest))
}

/// `GET`: where the upload stands.
pub(crate) async fn status(call: &RepositoryCall<'_>, id: &str) -> Result<Response, ApiError> {
    let upload = find(call, id).await?;
    Ok(session(StatusCode::NO_CONTENT, &call.name, &upload))
}

/// `DELETE`: ends the upload without a blob.
pub(crate) async fn cancel(call: &RepositoryCall<'_>, id: &str) -> Result<Response, ApiError> {
    let upload = find(call, id).await?;
    call.artifacts().cancel_upload(call.ctx(), upload).await.map_err(artifact_error)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What a request says about the bytes in its body.
#[derive(Debug, Default)]
struct Chunk {
    range: Option<Range<u64>>,
}

impl Chunk {
    fn of(call: &RepositoryCall<'_>) -> Result<Self, ApiError> {
        let Some(header) = call.header(&CONTENT_RANGE) else { return Ok(Self::default()) };
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
        Ok(Self { range: Some(range) })
    }
}

async fn find(call: &RepositoryCall<'_>, id: &str) -> Result<Upload, ApiError> {
    let repository = call.repository(Action::Push).await?;
    call.artifacts().find_upload(call.ctx(), &repository, id).await.map_err(artifact_error)
}

async fn receive(
    artifacts: &Artifacts,
    ctx: &Ctx,
    upload: &mut Upload,
    body: Body,
    chunk: &Chunk,
) -> Result<(), ApiError> {
    let start = chunk.range.as_ref().map(|range| range.start);
    artifacts
        .append_upload(ctx, upload, incoming(body), start)
        .await
        .map_err(artifact_error)
}

async fn complete(
    artifacts: Artifacts,
    ctx: Ctx,
    mut upload: Upload,
    body: Body,
    chunk: Chunk,
    digest: Digest,
) -> Result<(), ApiError> {
    if !body.is_end_stream() || chunk.range.is_some() {
        receive(&artifacts, &ctx, &mut upload, body, &chunk).await?;
    }
    artifacts.finish_upload(&ctx, upload, &digest).await.map_err(artifact_error)?;
    Ok(())
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
        .mount_blob(call.ctx(), &source.repo_id, &repository.repo_id, digest)
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
    let headers = [
        (LOCATION, format!("/v2/{name}/blobs/{digest}")),
        (CONTENT_DIGEST, digest.to_string()),
    ];
    (StatusCode::CREATED, headers).into_response()
}
