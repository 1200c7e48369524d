//! `GET …/referrers/<digest>` (OCI distribution-spec, "Listing referrers").

use axum::response::{IntoResponse as _, Response};
use berth_artifacts::{Referrer, ReferrerFilter, ReferrerPage};
use berth_types::Digest;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LINK};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::call::RepositoryRequest;
use crate::convert::artifact_error;
use crate::error::{Code, OciError};
use crate::route::Permission;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");

/// An index of every manifest whose subject is the digest; an empty one when there is none, known
/// digest and known repository or not ("MUST NOT return a 404").
pub(crate) async fn list(
    call: &RepositoryRequest<'_>,
    digest: &Digest,
) -> Result<Response, OciError> {
    let query = Query::read(call)?;
    let page = match call.repository(Permission::Pull).await {
        Ok(repository) => {
            let filter = ReferrerFilter {
                artifact_type: query.artifact_type.as_deref(),
                after: query.last.as_ref(),
                limit: query.limit.unwrap_or(ReferrerFilter::default().limit),
            };
            let manifests = call.artifacts().manifests();
            let page = manifests.referrers(&repository.repo_id, digest, filter).await;
            page.map_err(artifact_error)?
        }
        Err(error) if error.code() == Code::NameUnknown => ReferrerPage::default(),
        Err(error) => return Err(error),
    };
    let manifests: Vec<Value> = page.referrers.iter().map(descriptor).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    let mut response = (StatusCode::OK, [(CONTENT_TYPE, INDEX)], index.to_string()).into_response();
    if let Some(last) = page.referrers.last().filter(|_| page.more) {
        let next = query.next(&last.digest);
        let link = format!("</v2/{}/referrers/{digest}?{next}>; rel=\"next\"", call.name);
        if let Ok(link) = HeaderValue::from_str(&link) {
            response.headers_mut().insert(LINK, link);
        }
    }
    if query.artifact_type.is_some() {
        response.headers_mut().insert(FILTERS, HeaderValue::from_static("artifactType"));
    }
    Ok(response)
}

/// What is asked for. `n` and `last` are Berth's own, the latter for the links that it makes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    artifact_type: Option<String>,
    limit: Option<usize>,
    last: Option<Digest>,
}

impl Query {
    fn read(call: &RepositoryRequest<'_>) -> Result<Self, OciError> {
        let mut query = call.query();
        // No media type has a space: it was a plus sign that a client did not encode.
        let artifact_type = query
            .remove("artifactType")
            .map(|kind| kind.replace(' ', "+"))
            .filter(|kind| !kind.is_empty());
        let limit = match query.remove("n") {
            Some(text) => Some(
                text.parse()
                    .map_err(|_| OciError::new(Code::SizeInvalid, "`n` must be a number"))?,
            ),
            None => None,
        };
        let last = match query.remove("last") {
            Some(text) => Some(text.parse().map_err(|error: berth_types::DigestError| {
                OciError::new(Code::DigestInvalid, error.to_string())
            })?),
            None => None,
        };
        Ok(Self { artifact_type, limit, last })
    }

    /// The same question about what comes after a digest.
    fn next(&self, last: &Digest) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(kind) = &self.artifact_type {
            query.append_pair("artifactType", kind);
        }
        if let Some(limit) = self.limit {
            query.append_pair("n", &limit.to_string());
        }
        query.append_pair("last", last.as_str());
        query.finish()
    }
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
