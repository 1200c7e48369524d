//! One request under `/v2/`: its instance, its caller, its repository, and what it may do.

use std::collections::BTreeMap;
use std::sync::Arc;

use berth_artifacts::{
    ArtifactError, Artifacts, Blob, BlobHolder, InRepository, Instance, Promise, RepoType,
    Repository, StoredManifest,
};
use berth_auth::Access;
use berth_types::{Arn, Ctx, Digest, Millis, Reference, RepoName};
use http::header::HeaderName;
use http::request::Parts;

use crate::access::{Caller, Refused, address_of, authenticate};
use crate::convert::artifact_error;
use crate::error::{Code, OciError};
use crate::mount::source_scope;
use crate::route::Permission;
use crate::scope::{DISCOVERY_ACTION, DISCOVERY_KIND, DISCOVERY_NAME, challenge_scope};
use crate::{Origin, Registry};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request whose caller is known.
pub(crate) struct RegistryRequest<'a> {
    registry: &'a Registry,
    pub(crate) ctx: Ctx,
    pub(crate) instance: Arc<Instance>,
    /// The name of the instance in tokens.
    service: Arc<str>,
    origin: Origin,
    caller: Caller,
    parts: Parts,
}

/// A request about one repository.
pub(crate) struct RepositoryRequest<'a> {
    call: RegistryRequest<'a>,
    pub(crate) name: RepoName,
}

impl<'a> RegistryRequest<'a> {
    /// Finds the instance that the host names and checks the credentials.
    pub(crate) async fn open(registry: &'a Registry, parts: Parts) -> Result<Self, OciError> {
        let request = http::Request::from_parts(parts, ());
        let origin = Origin::of(&request);
        let (parts, ()) = request.into_parts();
        let instance = registry
            .artifacts
            .instances()
            .by_host(origin.host_name())
            .await
            .map_err(artifact_error)?;
        let service = registry.service_of(&instance);
        let (address, instance_id) = (address_of(&parts.extensions), &instance.instance_id);
        let caller =
            authenticate(&registry.auth, &parts.headers, &service, instance_id, address).await;
        let request_id = parts
            .headers
            .get(REQUEST_ID)
            .and_then(|value| value.to_str().ok())
            .map_or_else(berth_types::id::request, str::to_owned);
        let (caller, refused) = match caller {
            Ok(caller) => (caller, None),
            Err(refused) => (Caller::Nobody, Some(refused)),
        };
        let ctx = Ctx::new(caller.identity(), request_id);
        let call = Self { registry, ctx, instance, service, origin, caller, parts };
        if let Some(refused) = refused {
            return Err(call.refuse(&refused));
        }
        registry.auth.admit(&call.ctx.identity)?;
        Ok(call)
    }

    pub(crate) fn about(self, name: RepoName) -> RepositoryRequest<'a> {
        RepositoryRequest { call: self, name }
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// 401 with the address of the token endpoint, and the scope that is missing.
    pub(crate) fn challenge(
        &self,
        missing: Option<(&RepoName, Permission)>,
        error: Option<&str>,
        message: &str,
    ) -> OciError {
        let Self { service, origin: Origin { scheme, host }, .. } = self;
        let mut header =
            format!("Bearer realm=\"{scheme}://{host}/auth/token\",service=\"{service}\"");
        if let Some((name, action)) = missing {
            let mut scope = challenge_scope(name, action);
            if let Some(source) = source_scope(&self.parts).filter(|_| action == Permission::Push) {
                scope = format!("{scope} {source}");
            }
            header.push_str(&format!(",scope=\"{scope}\""));
        }
        if let Some(error) = error {
            header.push_str(&format!(",error=\"{error}\""));
        }
        OciError::unauthorized(message, &header)
    }

    fn refuse(&self, refused: &Refused) -> OciError {
        match refused {
            Refused::Malformed => {
                self.challenge(None, Some("invalid_request"), "cannot read the credentials")
            }
            Refused::Password => self.challenge(None, None, "user name or password is not valid"),
            Refused::Guessing(throttled) => OciError::guessing(*throttled),
            Refused::Token(error) => {
                self.challenge(None, Some("invalid_token"), &error.to_string())
            }
            Refused::Internal(error) => OciError::authentication(error),
        }
    }

    /// Whether the credentials are for the action in a repository, whatever policy says of it.
    fn credentials_reach(&self, name: &RepoName, action: Permission) -> Result<(), OciError> {
        match &self.caller {
            Caller::Nobody => {
                Err(self.challenge(Some((name, action)), None, "authentication required"))
            }
            Caller::Token(holder) if !holder.claims.allows(name.as_str(), action.name()) => {
                Err(self.challenge(
                    Some((name, action)),
                    Some("insufficient_scope"),
                    "the token does not allow this",
                ))
            }
            Caller::Token(_) | Caller::Login(_) => Ok(()),
        }
    }

    /// Whether the caller may do the action in a repository. The one place where the data plane
    /// decides.
    fn permit(&self, name: &RepoName, action: Permission, public: bool) -> Result<(), OciError> {
        self.credentials_reach(name, action)?;
        if is_allowed(self.registry, &self.ctx, &self.instance, name, action, public) {
            Ok(())
        } else {
            Err(OciError::new(Code::Denied, "requested access to the resource is denied"))
        }
    }
}

/// Whether policy allows the identity of `ctx` an action in a repository. A delete is a push.
pub(crate) fn is_allowed(
    registry: &Registry,
    ctx: &Ctx,
    instance: &Instance,
    name: &RepoName,
    action: Permission,
    public: bool,
) -> bool {
    let arn = Arn::repository(
        &instance.region,
        &instance.account_id,
        &instance.instance_id,
        &[name.namespace(), name.name()],
    );
    let action = match action {
        Permission::Pull => "cr:PullRepository",
        Permission::Push | Permission::Delete => "cr:PushRepository",
    };
    registry.auth.authorize(ctx, &Access { action, arn: &arn, public }).is_ok()
}

/// The repository of that name, if there is one.
pub(crate) async fn find_repository(
    registry: &Registry,
    instance: &Instance,
    name: &RepoName,
) -> Result<Option<Arc<Repository>>, OciError> {
    let repositories = registry.artifacts.repositories();
    repositories.by_name(&instance.instance_id, name).await.map_err(artifact_error)
}

/// Whether anybody may pull from it.
pub(crate) fn is_public(repository: &Repository) -> bool {
    repository.repo_type == RepoType::Public.as_str()
}

impl RepositoryRequest<'_> {
    pub(crate) fn artifacts(&self) -> &Artifacts {
        &self.call.registry.artifacts
    }

    pub(crate) fn ctx(&self) -> &Ctx {
        &self.call.ctx
    }

    /// When the caller's credentials end; `None` when they have no end of their own.
    pub(crate) fn until(&self) -> Option<Millis> {
        self.call.caller.until()
    }

    /// A request header as text; `None` when absent or not text.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.call.parts.headers.get(name)?.to_str().ok()
    }

    /// The parameters of the query; of a repeated one, the first.
    pub(crate) fn query(&self) -> BTreeMap<String, String> {
        let mut parameters = BTreeMap::new();
        for (name, value) in self.query_pairs() {
            parameters.entry(name).or_insert(value);
        }
        parameters
    }

    /// The parameters of the query in order.
    pub(crate) fn query_pairs(&self) -> Vec<(String, String)> {
        let query = self.call.parts.uri.query().unwrap_or_default();
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    /// The repository, for an action in it. Who may not do it is not told whether it exists.
    pub(crate) async fn repository(&self, action: Permission) -> Result<Arc<Repository>, OciError> {
        self.call.credentials_reach(&self.name, action)?;
        let found = self.find(&self.name).await?;
        let public = found.as_ref().is_some_and(|found| is_public(found));
        self.call.permit(&self.name, action, public)?;
        found.ok_or_else(|| self.name_unknown())
    }

    /// The manifest to pull, and nothing about it to those who may not.
    pub(crate) async fn manifest(
        &self,
        reference: &Reference,
        promise: Promise,
    ) -> Result<Arc<StoredManifest>, OciError> {
        self.call.credentials_reach(&self.name, Permission::Pull)?;
        let instance_id = &self.call.instance.instance_id;
        let manifests = self.artifacts().manifests();
        let found = manifests.pull(instance_id, &self.name, reference, promise).await;
        self.admit_pull(found.map_err(artifact_error)?)?
            .ok_or_else(|| artifact_error(ArtifactError::ManifestUnknown(reference.to_string())))
    }

    /// The blob to pull, and nothing about it to those who may not.
    pub(crate) async fn blob(
        &self,
        digest: &Digest,
        promise: Promise,
    ) -> Result<Arc<Blob>, OciError> {
        self.call.credentials_reach(&self.name, Permission::Pull)?;
        let instance_id = &self.call.instance.instance_id;
        let found = self.artifacts().blobs().pull(instance_id, &self.name, digest, promise).await;
        self.admit_pull(found.map_err(artifact_error)?)?
            .ok_or_else(|| OciError::blob_unknown(digest))
    }

    fn admit_pull<T>(&self, found: Option<InRepository<T>>) -> Result<Option<T>, OciError> {
        let public = found.as_ref().is_some_and(|found| found.public);
        self.call.permit(&self.name, Permission::Pull, public)?;
        Ok(found.ok_or_else(|| self.name_unknown())?.content)
    }

    fn name_unknown(&self) -> OciError {
        OciError::new(Code::NameUnknown, format!("repository {} does not exist", self.name))
    }

    /// The repository to push into, made when it is missing and its namespace allows that.
    pub(crate) async fn repository_for_push(&self) -> Result<Repository, OciError> {
        self.call.permit(&self.name, Permission::Push, false)?;
        self.artifacts()
            .repositories()
            .resolve_for_push(self.ctx(), &self.call.instance.instance_id, &self.name)
            .await
            .map_err(artifact_error)
    }

    /// The repository that a mount names as its source, when the caller may pull from it. A token
    /// that was not asked for it is told to be: with the next one the mount succeeds.
    pub(crate) async fn mount_source(
        &self,
        name: &RepoName,
    ) -> Result<Option<Arc<Repository>>, OciError> {
        let asked = self.token_answer("repository", name.as_str(), Permission::Pull.name());
        if asked.is_none() && self.policy_allows(name, Permission::Pull, false) {
            return Err(self.insufficient_for_mount());
        }
        let found = self.find(name).await?;
        Ok(found.filter(|found| {
            let public = is_public(found);
            (public || asked == Some(true)) && self.policy_allows(name, Permission::Pull, public)
        }))
    }

    /// Whether sources of mounts may be found for the caller beyond the repositories that its token
    /// names. A token that was not asked for that is told to be.
    pub(crate) fn may_discover(&self) -> Result<bool, OciError> {
        self.token_answer(DISCOVERY_KIND, DISCOVERY_NAME, DISCOVERY_ACTION)
            .ok_or_else(|| self.insufficient_for_mount())
    }

    /// Whether the caller may pull from a repository that was found for it.
    pub(crate) fn may_read(&self, holder: &BlobHolder, may_discover: bool) -> bool {
        let public = holder.repo_type == RepoType::Public.as_str();
        let named = || {
            self.token_answer("repository", holder.name.as_str(), Permission::Pull.name())
                == Some(true)
        };
        (public || may_discover || named())
            && self.policy_allows(&holder.name, Permission::Pull, public)
    }

    /// What the caller's token says about an action; who logged in on the request itself is not
    /// confined by one.
    fn token_answer(&self, kind: &str, name: &str, action: &str) -> Option<bool> {
        match &self.call.caller {
            Caller::Token(holder) => holder.claims.answer(kind, name, action),
            Caller::Login(_) => Some(true),
            Caller::Nobody => Some(false),
        }
    }

    fn policy_allows(&self, name: &RepoName, action: Permission, public: bool) -> bool {
        is_allowed(self.call.registry, &self.call.ctx, &self.call.instance, name, action, public)
    }

    fn insufficient_for_mount(&self) -> OciError {
        self.call.challenge(
            Some((&self.name, Permission::Push)),
            Some("insufficient_scope"),
            "the token does not say whether it may read the source of the mount",
        )
    }

    async fn find(&self, name: &RepoName) -> Result<Option<Arc<Repository>>, OciError> {
        find_repository(self.call.registry, &self.call.instance, name).await
    }
}
