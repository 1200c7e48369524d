//! What an operation works on: found before the caller is authorised, since its name is part of
//! the resource of the decision.

use berth_artifacts::{ArtifactError, ArtifactErrorKind, Instance, Namespace, Repository};
use berth_types::{Arn, Ctx, RepoName};

use crate::codes;
use crate::control::Control;
use crate::error::ApiError;
use crate::operation::Extent;
use crate::parameters::Parameters;

/// What was found. Which of them are there follows from the operation's [`Extent`].
#[derive(Debug, Default)]
pub(crate) struct Target {
    instance: Option<Instance>,
    namespace: Option<Namespace>,
    repository: Option<Repository>,
}

impl Target {
    pub(crate) fn instance(&self) -> Result<&Instance, ApiError> {
        self.instance.as_ref().ok_or_else(|| ApiError::internal("operation has no instance"))
    }

    pub(crate) fn namespace(&self) -> Result<&Namespace, ApiError> {
        self.namespace.as_ref().ok_or_else(|| ApiError::internal("operation has no namespace"))
    }

    pub(crate) fn repository(&self) -> Result<&Repository, ApiError> {
        self.repository.as_ref().ok_or_else(|| ApiError::internal("operation has no repository"))
    }
}

/// The resource of the decision, and the target or why there is none. The latter is told only to
/// a caller that is authorised.
pub(crate) struct Resolved {
    pub(crate) arn: Arn,
    pub(crate) target: Result<Target, ApiError>,
}

/// Finds what the parameters name.
///
/// # Errors
/// When a parameter is missing or the database fails; what merely does not exist is told in
/// [`Resolved`].
pub(crate) async fn resolve(
    control: &Control,
    ctx: &Ctx,
    extent: Extent,
    parameters: &Parameters,
) -> Result<Resolved, ApiError> {
    let scope = Scope { control, ctx, parameters };
    if extent == Extent::Instances {
        let arn = Arn::instance(control.region(), &ctx.identity.account_id, "*");
        return Ok(Resolved { arn, target: Ok(Target::default()) });
    }
    let instance_id =
        parameters.filled("InstanceId").ok_or_else(|| ApiError::missing("InstanceId"))?;
    let instance = match scope.instance(instance_id).await? {
        Ok(instance) => instance,
        Err(missing) => {
            let arn = match extent {
                Extent::Everything => Arn::any(),
                Extent::InstanceOrEverything if scope.is_of_server() => Arn::any(),
                _ => scope.instance_arn(instance_id),
            };
            return Ok(Resolved { arn, target: Err(missing) });
        }
    };
    scope.within(extent, instance).await
}

struct Scope<'a> {
    control: &'a Control,
    ctx: &'a Ctx,
    parameters: &'a Parameters,
}

impl Scope<'_> {
    async fn within(&self, extent: Extent, instance: Instance) -> Result<Resolved, ApiError> {
        let id = instance.instance_id.clone();
        let found = |arn, target: Target| Ok(Resolved { arn, target: Ok(target) });
        let alone = |instance| Target { instance: Some(instance), ..Target::default() };
        match extent {
            Extent::Everything | Extent::Instances => found(Arn::any(), alone(instance)),
            Extent::InstanceOrEverything if self.is_of_server() => {
                found(Arn::any(), alone(instance))
            }
            Extent::Instance | Extent::InstanceOrEverything => {
                found(self.instance_arn(&id), alone(instance))
            }
            Extent::Repositories => found(self.repository_arn(&id, &[]), alone(instance)),
            Extent::NamespaceOrAll(parameter) => {
                let path = self.parameters.filled(parameter).map(|name| vec![name]);
                let arn = self.repository_arn(&id, path.as_deref().unwrap_or_default());
                found(arn, alone(instance))
            }
            Extent::Namespace(parameter) => {
                let namespace = self.namespace(&id, parameter).await?;
                let name = match &namespace {
                    Ok(namespace) => namespace.name.as_str(),
                    Err(_) => self.parameters.filled(parameter).unwrap_or("*"),
                };
                let arn = self.repository_arn(&id, &[name]);
                let target = namespace
                    .map(|namespace| Target { namespace: Some(namespace), ..alone(instance) });
                Ok(Resolved { arn, target })
            }
            Extent::Repository => {
                let repository = self.repository(&id).await?;
                let arn = match &repository {
                    Ok(row) => self.repository_arn(&id, &[&row.namespace_name, &row.name]),
                    Err(_) => {
                        let part = |name| self.parameters.filled(name).unwrap_or("*");
                        self.repository_arn(&id, &[part("RepoNamespaceName"), part("RepoName")])
                    }
                };
                let target = repository
                    .map(|repository| Target { repository: Some(repository), ..alone(instance) });
                Ok(Resolved { arn, target })
            }
        }
    }

    /// Whether the operation is to work on the whole server.
    fn is_of_server(&self) -> bool {
        self.parameters.filled("Scope") == Some("SERVER")
    }

    fn instance_arn(&self, instance_id: &str) -> Arn {
        Arn::instance(self.control.region(), &self.ctx.identity.account_id, instance_id)
    }

    fn repository_arn(&self, instance_id: &str, path: &[&str]) -> Arn {
        let account = &self.ctx.identity.account_id;
        Arn::repository(self.control.region(), account, instance_id, path)
    }

    /// An instance of another account does not exist for this caller.
    async fn instance(&self, id: &str) -> Result<Result<Instance, ApiError>, ApiError> {
        let missing = || {
            let message = format!("Instance {id} does not exist.");
            ApiError::new(codes::INSTANCE_NOT_EXIST, message)
        };
        match self.control.artifacts().instances().find(id).await {
            Ok(instance) if instance.account_id == self.ctx.identity.account_id => Ok(Ok(instance)),
            Ok(_) => Ok(Err(missing())),
            Err(error) if error.kind() == ArtifactErrorKind::InstanceNotFound => Ok(Err(missing())),
            Err(error) => Err(error.into()),
        }
    }

    /// By the name in the given parameter, or by `NamespaceId`.
    async fn namespace(
        &self,
        instance_id: &str,
        parameter: &'static str,
    ) -> Result<Result<Namespace, ApiError>, ApiError> {
        let namespaces = self.control.artifacts().namespaces();
        let found = match (self.parameters.filled("NamespaceId"), self.parameters.filled(parameter))
        {
            (Some(namespace_id), None) => namespaces.find_by_id(instance_id, namespace_id).await,
            (_, Some(name)) => namespaces.find(instance_id, name).await,
            (None, None) => return Err(ApiError::missing(parameter)),
        };
        told_later(found, ArtifactErrorKind::NamespaceNotFound)
    }

    /// By `RepoId`, or by `RepoNamespaceName` and `RepoName`.
    async fn repository(
        &self,
        instance_id: &str,
    ) -> Result<Result<Repository, ApiError>, ApiError> {
        let repositories = self.control.artifacts().repositories();
        let parameter = |name: &str| self.parameters.filled(name);
        if let Some(repo_id) = parameter("RepoId") {
            let found = repositories.find_by_id(instance_id, repo_id).await;
            return told_later(found, ArtifactErrorKind::RepositoryNotFound);
        }
        let (namespace, name) = match (parameter("RepoNamespaceName"), parameter("RepoName")) {
            (Some(namespace), Some(name)) => (namespace, name),
            (None, None) => return Err(ApiError::missing("RepoId")),
            (None, _) => return Err(ApiError::missing("RepoNamespaceName")),
            (_, None) => return Err(ApiError::missing("RepoName")),
        };
        let full_name = RepoName::new(namespace, name)
            .ok()
            .filter(|full_name| full_name.namespace() == namespace);
        let Some(full_name) = full_name else {
            // No repository can have that name.
            let error = ArtifactError::RepositoryNotFound(format!("{namespace}/{name}"));
            return Ok(Err(error.into()));
        };
        let found = repositories.find(instance_id, &full_name).await;
        told_later(found, ArtifactErrorKind::RepositoryNotFound)
    }
}

/// Sets an absence aside until the caller is authorised; other errors end the request.
fn told_later<T>(
    found: Result<T, ArtifactError>,
    absence: ArtifactErrorKind,
) -> Result<Result<T, ApiError>, ApiError> {
    match found {
        Ok(found) => Ok(Ok(found)),
        Err(error) if error.kind() == absence => Ok(Err(error.into())),
        Err(error) => Err(error.into()),
    }
}
