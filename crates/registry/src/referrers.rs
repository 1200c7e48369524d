//! `GET …/referrers/<digest>` (OCI distribution-spec, "Listing referrers").

use axum::response::{IntoResponse as _, Response};
use berth_artifacts::Referrer;
use berth_types::Digest;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LINK};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::call::RepositoryCall;
use crate::convert::artifact_error;
use crate::error::ApiError;
use crate::route::Action;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Referrers in one answer.
const LIMIT: i64 = 1000;
const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");

/// An index of every manifest whose subject is the digest; an empty one when there is none, known
/// digest or not.
pub(crate) async fn list(call: &RepositoryCall<'_>, digest: &Digest) -> Result<Response, ApiError> {
    let repository = call.repository(Action::Pull).await?;
    let mut query = call.query();
    let wanted = query.remove("artifactType").filter(|kind| !kind.is_empty());
    let after = query.remove("last").and_then(|last| last.parse::<Digest>().ok());
    let referrers = call
        .artifacts()
        .manifests()
        .referrers(&repository.repo_id, digest, after.as_ref(), LIMIT)
        .await
        .map_err(artifact_error)?;
    let manifests: Vec<Value> = referrers
        .iter()
        .filter(|referrer| wanted.is_none() || referrer.artifact_type == wanted)
        .map(descriptor)
        .collect();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    let mut response = (StatusCode::OK, [(CONTENT_TYPE, INDEX)], index.to_string()).into_response();
    // A full page may have a next one, which may be empty.
    if let Some(last) = referrers.last().filter(|_| i64::try_from(referrers.len()) == Ok(LIMIT)) {
        let filter = match &wanted {
            Some(kind) => {
                let kind: String = form_urlencoded::byte_serialize(kind.as_bytes()).collect();
                format!("&artifactType={kind}")
            }
            None => String::new(),
        };
        let (name, last) = (&call.name, &last.digest);
        let link = format!("</v2/{name}/referrers/{digest}?last={last}{filter}>; rel=\"next\"");
        if let Ok(link) = HeaderValue::from_str(&link) {
            response.headers_mut().insert(LINK, link);
        }
    }
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
