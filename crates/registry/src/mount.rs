//! Mounts: a blob of another repository made visible in this one (OCI distribution-spec,
//! "Mounting a blob from another repository"), with `from` or found by the registry itself.
//!
//! What the caller may not read is never a source, and whether it has the blob is not to be seen:
//! every mount that cannot be made is an upload that begins.

use berth_artifacts::Repository;
use berth_types::{Digest, RepoName};
use http::request::Parts;

use crate::call::RepositoryRequest;
use crate::convert::artifact_error;
use crate::error::OciError;
use crate::route::Permission;
use crate::scope::{DISCOVERY, challenge_scope};

/// Holders of a blob that are looked at together, and how often: a blob that thousands of
/// repositories have, none of them the caller's to read, is not worth more.
const HOLDERS: i64 = 64;
const ROUNDS: usize = 16;

/// Makes the blob visible in `repository`; `false` when the client has to upload it.
pub(crate) async fn try_mount(
    call: &RepositoryRequest<'_>,
    repository: &Repository,
    digest: &Digest,
    from: Option<&str>,
) -> Result<bool, OciError> {
    let Some(from) = from.filter(|from| !from.is_empty()) else {
        return discover(call, repository, digest).await;
    };
    let Ok(from) = from.parse::<RepoName>() else { return Ok(false) };
    let Some(source) = call.mount_source(&from).await? else { return Ok(false) };
    mount_from(call, &source.repo_id, repository, digest).await
}

/// Mounts from whichever repository of the instance has the blob and is the caller's to read.
async fn discover(
    call: &RepositoryRequest<'_>,
    repository: &Repository,
    digest: &Digest,
) -> Result<bool, OciError> {
    let may_discover = call.may_discover()?;
    let blobs = call.artifacts().blobs();
    let mut after = String::new();
    for _ in 0..ROUNDS {
        let holders = blobs
            .holders(&repository.instance_id, digest, &after, HOLDERS)
            .await
            .map_err(artifact_error)?;
        for holder in &holders {
            if call.may_read(holder, may_discover)
                && mount_from(call, &holder.repo_id, repository, digest).await?
            {
                return Ok(true);
            }
        }
        match holders.last() {
            Some(last) if i64::try_from(holders.len()) == Ok(HOLDERS) => {
                after.clone_from(&last.repo_id);
            }
            _ => break,
        }
    }
    Ok(false)
}

async fn mount_from(
    call: &RepositoryRequest<'_>,
    source: &str,
    target: &Repository,
    digest: &Digest,
) -> Result<bool, OciError> {
    let blobs = call.artifacts().blobs();
    blobs.mount(source, &target.repo_id, digest).await.map_err(artifact_error)
}

/// What a token must hold beside the right to push, for the mount that the request asks for: the
/// challenge names it, so that the client's next token does.
pub(crate) fn source_scope(parts: &Parts) -> Option<String> {
    let query = parts.uri.query().filter(|_| parts.method == http::Method::POST)?;
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    let (mut mount, mut from) = (false, None);
    for (name, value) in pairs {
        match name.as_ref() {
            "mount" => mount = true,
            "from" if from.is_none() => from = Some(value.into_owned()),
            _ => {}
        }
    }
    if !mount {
        return None;
    }
    match from.filter(|from| !from.is_empty()) {
        None => Some(DISCOVERY.to_owned()),
        // The name is checked: it becomes part of a header.
        Some(from) => from.parse().ok().map(|from| challenge_scope(&from, Permission::Pull)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(method: &str, uri: &str) -> Option<String> {
        let request = http::Request::builder().method(method).uri(uri).body(()).expect("request");
        source_scope(&request.into_parts().0)
    }

    #[test]
    fn a_mount_names_its_source() {
        let path = "/v2/a/b/blobs/uploads/";
        assert_eq!(scope("POST", path), None);
        assert_eq!(scope("POST", &format!("{path}?digest=x")), None);
        assert_eq!(scope("POST", &format!("{path}?mount=x")).as_deref(), Some(DISCOVERY));
        let from = format!("{path}?from=c%2Fd&mount=x");
        assert_eq!(scope("POST", &from).as_deref(), Some("repository:c/d:pull"));
        assert_eq!(scope("GET", &from), None);
        assert_eq!(scope("POST", &format!("{path}?mount=x&from=%22A")), None);
    }
}
