//! Namespaces.

use berth_metadata::tables::namespace::{Namespace, NamespaceFilter};
use berth_metadata::tables::repository::RepositoryFilter;
use berth_metadata::tables::{namespace, repository, upload};
use berth_metadata::{Page, Session};
use berth_types::{Ctx, Millis, RepoName, id};

use crate::{ArtifactError, Artifacts, RepoType};

/// What a namespace is made of.
#[derive(Debug, Clone)]
pub struct NewNamespace {
    pub name: String,
    /// Whether a push may make repositories.
    pub auto_create_repo: bool,
    pub default_repo_type: RepoType,
    pub default_tag_immutability: bool,
    /// JSON of the build rule that new repositories get.
    pub build_rule_parameters: Option<String>,
}

/// What to change; `None` leaves as it is.
#[derive(Debug, Clone, Default)]
pub struct NamespaceChanges {
    pub auto_create_repo: Option<bool>,
    pub default_repo_type: Option<RepoType>,
    pub default_tag_immutability: Option<bool>,
    /// `Some(None)` removes it.
    pub build_rule_parameters: Option<Option<String>>,
}

/// Namespaces of instances.
pub struct Namespaces<'a>(pub(crate) &'a Artifacts);

impl Namespaces<'_> {
    /// # Errors
    /// `NameInvalid`, `NamespaceExists`.
    pub async fn create(
        &self,
        ctx: &Ctx,
        instance_id: &str,
        new: NewNamespace,
    ) -> Result<Namespace, ArtifactError> {
        let mut session = self.0.db.begin().await?;
        self.0.quotas().admit_namespace(&mut session, instance_id).await?;
        let row = create_in(&mut session, instance_id, new, self.0.now()).await?;
        session.commit().await?;
        tracing::info!(request = ctx.request_id, namespace = row.name, "namespace created");
        Ok(row)
    }

    /// # Errors
    /// `NamespaceNotFound`.
    pub async fn find(&self, instance_id: &str, name: &str) -> Result<Namespace, ArtifactError> {
        let mut session = self.0.db.read().await?;
        let found = namespace::find_by_name(&mut session, instance_id, name).await?;
        found.ok_or_else(|| ArtifactError::NamespaceNotFound(name.to_owned()))
    }

    /// # Errors
    /// `NamespaceNotFound`, also when it belongs to another instance.
    pub async fn find_by_id(
        &self,
        instance_id: &str,
        namespace_id: &str,
    ) -> Result<Namespace, ArtifactError> {
        let mut session = self.0.db.read().await?;
        let found = namespace::find_by_id(&mut session, namespace_id).await?;
        found
            .filter(|row| row.instance_id == instance_id)
            .ok_or_else(|| ArtifactError::NamespaceNotFound(namespace_id.to_owned()))
    }

    /// A page by name and the number of all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(
        &self,
        filter: &NamespaceFilter,
        page: Page,
    ) -> Result<(Vec<Namespace>, i64), ArtifactError> {
        let mut session = self.0.db.read().await?;
        Ok(namespace::list(&mut session, filter, page).await?)
    }

    /// # Errors
    /// `NamespaceNotFound`.
    pub async fn update(
        &self,
        ctx: &Ctx,
        instance_id: &str,
        name: &str,
        changes: NamespaceChanges,
    ) -> Result<Namespace, ArtifactError> {
        let mut session = self.0.db.begin().await?;
        let missing = || ArtifactError::NamespaceNotFound(name.to_owned());
        let found = namespace::find_by_name(&mut session, instance_id, name).await?;
        let mut row = found.ok_or_else(missing)?;
        if let Some(auto_create_repo) = changes.auto_create_repo {
            row.auto_create_repo = auto_create_repo;
        }
        if let Some(repo_type) = changes.default_repo_type {
            row.default_repo_type = repo_type.to_string();
        }
        if let Some(immutability) = changes.default_tag_immutability {
            row.default_tag_immutability = immutability;
        }
        if let Some(parameters) = changes.build_rule_parameters {
            row.build_rule_parameters = parameters;
        }
        row.modified_at = self.0.now();
        if !namespace::update(&mut session, &row).await? {
            return Err(missing());
        }
        session.commit().await?;
        tracing::info!(request = ctx.request_id, namespace = name, "namespace updated");
        Ok(row)
    }

    /// Deletes the namespace with its repositories and everything in them.
    ///
    /// # Errors
    /// `NamespaceNotFound`.
    pub async fn delete(
        &self,
        ctx: &Ctx,
        instance_id: &str,
        name: &str,
    ) -> Result<(), ArtifactError> {
        let mut attempts = 0;
        let uploads = loop {
            attempts += 1;
            match self.try_delete(instance_id, name).await {
                // A push made a repository in it meanwhile.
                Err(ArtifactError::Database(error)) if error.is_conflict() && attempts < 5 => {}
                done => break done?,
            }
        };
        tracing::info!(request = ctx.request_id, namespace = name, "namespace deleted");
        self.0.uploads().abort_all(uploads).await;
        Ok(())
    }

    async fn try_delete(
        &self,
        instance_id: &str,
        name: &str,
    ) -> Result<Vec<upload::Upload>, ArtifactError> {
        let mut session = self.0.db.begin().await?;
        let found = namespace::find_by_name(&mut session, instance_id, name).await?;
        let row = found.ok_or_else(|| ArtifactError::NamespaceNotFound(name.to_owned()))?;
        let filter = RepositoryFilter {
            instance_id: instance_id.to_owned(),
            namespace_name: name.to_owned(),
            ..RepositoryFilter::default()
        };
        let mut uploads = Vec::new();
        loop {
            let (repositories, _) =
                repository::list(&mut session, &filter, Page::new(1, 100)).await?;
            if repositories.is_empty() {
                break;
            }
            for row in repositories {
                uploads.extend(self.0.repositories().delete_in(&mut session, &row).await?);
            }
        }
        for listener in &self.0.listeners {
            listener.namespace_deleted(&mut session, &row).await?;
        }
        namespace::delete(&mut session, &row.namespace_id).await?;
        session.commit().await?;
        Ok(uploads)
    }
}

pub(crate) async fn create_in(
    session: &mut Session,
    instance_id: &str,
    new: NewNamespace,
    now: Millis,
) -> Result<Namespace, ArtifactError> {
    // A namespace is the first component of a repository name.
    let valid = !new.name.contains('/') && RepoName::new(&new.name, "x").is_ok();
    if !valid {
        return Err(ArtifactError::NamespaceName(new.name));
    }
    if namespace::find_by_name(session, instance_id, &new.name).await?.is_some() {
        return Err(ArtifactError::NamespaceExists(new.name));
    }
    let row = Namespace {
        namespace_id: id::generate(id::NAMESPACE),
        instance_id: instance_id.to_owned(),
        name: new.name,
        status: "NORMAL".to_owned(),
        auto_create_repo: new.auto_create_repo,
        default_repo_type: new.default_repo_type.to_string(),
        default_tag_immutability: new.default_tag_immutability,
        build_rule_parameters: new.build_rule_parameters,
        created_at: now,
        modified_at: now,
    };
    match namespace::insert(session, &row).await {
        Ok(()) => Ok(row),
        Err(error) if error.is_conflict() => Err(ArtifactError::NamespaceExists(row.name)),
        Err(error) => Err(error.into()),
    }
}
