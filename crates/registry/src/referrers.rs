//! `GET …/referrers/<digest>` (OCI distribution-spec, "Listing referrers").

use axum::response::{IntoResponse as _, Response};
use berth_artifacts::Referrer;
use berth_types::Digest;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::call::RepositoryCall;
use crate::convert::artifact_error;
use crate::error::ApiError;
use crate::route::Action;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");

/// An index of every manifest whose subject is the digest; an empty one when there is none, known
/// digest or not.
pub(crate) async fn list(call: &RepositoryCall<'_>, digest: &Digest) -> Result<Response, ApiError> {
    let repository = call.repository(Action::Pull).await?;
    let wanted = call.query().remove("artifactType").filter(|kind| !kind.is_empty());
    let referrers = call
        .artifacts()
        .referrers(&repository.repo_id, digest)
        .await
        .map_err(artifact_error)?;
    let manifests: Vec<Value> = referrers
        .iter()
        .filter(|referrer| wanted.is_none() || referrer.artifact_type == wanted)
        .map(descriptor)
        .collect();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    let mut response =
        (StatusCode::OK, [(CONTENT_TYPE, INDEX)], index.to_string()).into_response();
    if wanted.is_some() {
        response.headers_mut().insert(FILTERS, HeaderValue::from_static("artifactType"));
    }
    Ok(response)
}

fn descriptor(referrer: &Referrer) -> Value {
    let mut descriptor = json!({
        "mediaType": referrer.media_type,
        "digest": referrer.digest,
        "size": referrer.size,
    });
    if let Some(kind) = &referrer.artifact_type {
        descriptor["artifactType"] = json!(kind);
    }
    if !referrer.annotations.is_empty() {
        descriptor["annotations"] = json!(referrer.annotations);
    }
    descriptor
}
