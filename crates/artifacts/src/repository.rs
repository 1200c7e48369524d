//! Repositories.

use berth_metadata::tables::namespace::Namespace;
use berth_metadata::tables::repository::{Repository, RepositoryFilter};
use berth_metadata::tables::{manifest, namespace, repository, upload};
use berth_metadata::{Page, Session};
use berth_types::{Ctx, RepoName, id};

use crate::namespace::{NewNamespace, create_in as create_namespace_in};
use crate::{ArtifactError, Artifacts, RepoType};

/// What a repository is made of; what is `None` comes from its namespace.
#[derive(Debug, Clone, Default)]
pub struct NewRepository {
    pub namespace_name: String,
    pub name: String,
    pub repo_type: Option<RepoType>,
    pub tag_immutability: Option<bool>,
    pub summary: String,
    pub detail: String,
    /// `MANUAL` or `AUTO`; `None` is `MANUAL`.
    pub build_type: Option<String>,
    /// Days that a manifest without a tag is kept; `None` keeps it for ever.
    pub untagged_days: Option<i64>,
}

/// What to change; `None` leaves as it is.
#[derive(Debug, Clone, Default)]
pub struct RepositoryChanges {
    pub repo_type: Option<RepoType>,
    pub tag_immutability: Option<bool>,
    pub summary: Option<String>,
    pub detail: Option<String>,
    /// Days that a manifest without a tag is kept, counted from now on; `Some(None)` keeps it for
    /// ever.
    pub untagged_days: Option<Option<i64>>,
}

/// Repositories of instances.
pub struct Repositories<'a>(pub(crate) &'a Artifacts);

impl Repositories<'_> {
    /// # Errors
    /// `NameInvalid`, `NamespaceNotFound`, `RepositoryExists`.
    pub async fn create(
        &self,
        ctx: &Ctx,
        instance_id: &str,
        new: NewRepository,
    ) -> Result<Repository, ArtifactError> {
        let name = RepoName::new(&new.namespace_name, &new.name)?;
        let mut session = self.0.db.begin().await?;
        let owner = namespace::find_by_name(&mut session, instance_id, name.namespace()).await?;
        let owner = owner
            .filter(|_| name.namespace() == new.namespace_name)
            .ok_or_else(|| ArtifactError::NamespaceNotFound(new.namespace_name.clone()))?;
        let row = self.create_in(&mut session, &owner, new).await?;
        session.commit().await?;
        tracing::info!(request = ctx.request_id, repository = %name, "repository created");
        Ok(row)
    }

    async fn create_in(
        &self,
        session: &mut Session,
        owner: &Namespace,
        new: NewRepository,
    ) -> Result<Repository, ArtifactError> {
        let full_name = RepoName::new(&new.namespace_name, &new.name)?;
        let exists = || ArtifactError::RepositoryExists(full_name.to_string());
        if repository::find(session, &owner.instance_id, &full_name).await?.is_some() {
            return Err(exists());
        }
        self.0.quotas().admit_repository(session, &owner.instance_id).await?;
        let now = self.0.now();
        let repo_type = match new.repo_type {
            Some(repo_type) => repo_type.to_string(),
            None => owner.default_repo_type.clone(),
        };
        let row = Repository {
            repo_id: id::generate(id::REPOSITORY),
            instance_id: owner.instance_id.clone(),
            namespace_id: owner.namespace_id.clone(),
            namespace_name: new.namespace_name,
            name: new.name,
            status: "NORMAL".to_owned(),
            repo_type,
            tag_immutability: new.tag_immutability.unwrap_or(owner.default_tag_immutability),
            summary: new.summary,
            detail: new.detail,
            build_type: new.build_type.unwrap_or_else(|| "MANUAL".to_owned()),
            untagged_days: new.untagged_days,
            created_at: now,
            modified_at: now,
        };
        match repository::insert(session, &row).await {
            Ok(()) => {}
            Err(error) if error.is_conflict() => return Err(exists()),
            Err(error) => return Err(error.into()),
        }
        for listener in &self.0.listeners {
            listener.repository_created(session, owner, &row).await?;
        }
        Ok(row)
    }

    /// # Errors
    /// `RepositoryNotFound`.
    pub async fn find(
        &self,
        instance_id: &str,
        name: &RepoName,
    ) -> Result<Repository, ArtifactError> {
        let mut session = self.0.db.read().await?;
        let found = repository::find(&mut session, instance_id, name).await?;
        found.ok_or_else(|| ArtifactError::RepositoryNotFound(name.to_string()))
    }

    /// # Errors
    /// `RepositoryNotFound`, also when it belongs to another instance.
    pub async fn find_by_id(
        &self,
        instance_id: &str,
        repo_id: &str,
    ) -> Result<Repository, ArtifactError> {
        let mut session = self.0.db.read().await?;
        let found = repository::find_by_id(&mut session, repo_id).await?;
        found
            .filter(|row| row.instance_id == instance_id)
            .ok_or_else(|| ArtifactError::RepositoryNotFound(repo_id.to_owned()))
    }

    /// A page by name and the number of all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(
        &self,
        filter: &RepositoryFilter,
        page: Page,
    ) -> Result<(Vec<Repository>, i64), ArtifactError> {
        let mut session = self.0.db.read().await?;
        Ok(repository::list(&mut session, filter, page).await?)
    }

    /// At most `limit` of the filter's repositories after a name (none: from the first), and the
    /// number of all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_after(
        &self,
        filter: &RepositoryFilter,
        after: Option<&RepoName>,
        limit: i64,
    ) -> Result<(Vec<Repository>, i64), ArtifactError> {
        let mut session = self.0.db.read().await?;
        Ok(repository::list_after(&mut session, filter, after, limit).await?)
    }

    /// At most `limit` repositories after a name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn catalog(
        &self,
        instance_id: &str,
        after: Option<&RepoName>,
        limit: i64,
    ) -> Result<Vec<Repository>, ArtifactError> {
        let mut session = self.0.db.read().await?;
        Ok(repository::catalog(&mut session, instance_id, after, limit).await?)
    }

    /// # Errors
    /// `RepositoryNotFound`.
    pub async fn update(
        &self,
        ctx: &Ctx,
        instance_id: &str,
        repo_id: &str,
        changes: RepositoryChanges,
    ) -> Result<Repository, ArtifactError> {
        let mut session = self.0.db.begin().await?;
        let mut row = lock_in(&mut session, instance_id, repo_id).await?;
        if let Some(repo_type) = changes.repo_type {
            row.repo_type = repo_type.to_string();
        }
        if let Some(immutability) = changes.tag_immutability {
            row.tag_immutability = immutability;
        }
        if let Some(summary) = changes.summary {
            row.summary = summary;
        }
        if let Some(detail) = changes.detail {
            row.detail = detail;
        }
        if let Some(days) = changes.untagged_days
            && days != row.untagged_days
        {
            row.untagged_days = days;
            let review_after = self.0.untagged_review_time(&row);
            manifest::review_all(&mut session, repo_id, review_after).await?;
        }
        row.modified_at = self.0.now();
        repository::update(&mut session, &row).await?;
        session.commit().await?;
        tracing::info!(request = ctx.request_id, repo_id, "repository updated");
        Ok(row)
    }

    /// Deletes the repository with its tags, manifests, blob links and uploads.
    ///
    /// # Errors
    /// `RepositoryNotFound`.
    pub async fn delete(
        &self,
        ctx: &Ctx,
        instance_id: &str,
        repo_id: &str,
    ) -> Result<(), ArtifactError> {
        let mut session = self.0.db.begin().await?;
        let row = lock_in(&mut session, instance_id, repo_id).await?;
        let partials = self.delete_in(&mut session, &row).await?;
        session.commit().await?;
        tracing::info!(request = ctx.request_id, repo_id, "repository deleted");
        self.0.uploads().abort_all(partials).await;
        Ok(())
    }

    /// Returns the uploads that went with it, whose partial objects are to be aborted after the
    /// commit.
    pub(crate) async fn delete_in(
        &self,
        session: &mut Session,
        row: &Repository,
    ) -> Result<Vec<upload::Upload>, ArtifactError> {
        let uploads = upload::by_repository(session, &row.repo_id, i64::from(u32::MAX)).await?;
        for listener in &self.0.listeners {
            listener.repository_deleted(session, row).await?;
        }
        repository::delete(session, &row.repo_id, self.0.review_time()).await?;
        Ok(uploads)
    }

    /// The repository to push to. The first push makes it when its namespace allows that, and makes
    /// the namespace (private, creating repositories) when the operator allows that.
    ///
    /// # Errors
    /// `NamespaceNotFound`, `RepositoryNotFound`.
    pub async fn resolve_for_push(
        &self,
        ctx: &Ctx,
        instance_id: &str,
        name: &RepoName,
    ) -> Result<Repository, ArtifactError> {
        let mut attempts = 0;
        loop {
            if let Some(found) = self.by_name(instance_id, name).await? {
                return Ok(Repository::clone(&found));
            }
            match self.create_for_push(instance_id, name).await {
                // Another push made it meanwhile; on PostgreSQL that ends this transaction.
                Err(ArtifactError::RepositoryExists(_) | ArtifactError::NamespaceExists(_))
                    if attempts < 10 =>
                {
                    attempts += 1;
                }
                Ok(row) => {
                    let request = &ctx.request_id;
                    tracing::info!(request, repository = %name, "repository created by a push");
                    return Ok(row);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn create_for_push(
        &self,
        instance_id: &str,
        name: &RepoName,
    ) -> Result<Repository, ArtifactError> {
        let mut session = self.0.db.begin().await?;
        let found = namespace::find_by_name(&mut session, instance_id, name.namespace()).await?;
        let owner = match found {
            Some(owner) if owner.auto_create_repo => owner,
            Some(owner) => return Err(ArtifactError::AutoCreateOff(owner.name)),
            None if self.0.limits.auto_create_namespace => {
                let new = NewNamespace {
                    name: name.namespace().to_owned(),
                    auto_create_repo: true,
                    default_repo_type: RepoType::Private,
                    default_tag_immutability: false,
                    build_rule_parameters: None,
                };
                self.0.quotas().admit_namespace(&mut session, instance_id).await?;
                create_namespace_in(&mut session, instance_id, new, self.0.now()).await?
            }
            None => return Err(ArtifactError::NamespaceNotFound(name.namespace().to_owned())),
        };
        let new = NewRepository {
            namespace_name: name.namespace().to_owned(),
            name: name.name().to_owned(),
            ..NewRepository::default()
        };
        let row = self.create_in(&mut session, &owner, new).await?;
        session.commit().await?;
        Ok(row)
    }

    /// The repository to pull from.
    ///
    /// # Errors
    /// `RepositoryNotFound`.
    pub async fn resolve_for_pull(
        &self,
        instance_id: &str,
        name: &RepoName,
    ) -> Result<Repository, ArtifactError> {
        self.find(instance_id, name).await
    }
}

/// Locks the repository's row, which every push and delete does first.
async fn lock_in(
    session: &mut Session,
    instance_id: &str,
    repo_id: &str,
) -> Result<Repository, ArtifactError> {
    repository::lock(session, repo_id)
        .await?
        .filter(|row| row.instance_id == instance_id)
        .ok_or_else(|| ArtifactError::RepositoryNotFound(repo_id.to_owned()))
}
