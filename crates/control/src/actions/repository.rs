//! Repositories: create, get, list, update, delete.

use async_trait::async_trait;
use berth_artifacts::{
    NewRepository, RepoType, Repository, RepositoryChanges, RepositoryFilter, UnknownRepoType,
};
use berth_types::RepoName;

use super::Done;
use crate::control::Control;
use crate::error::{ApiError, named};
use crate::operation::{Action, Call};
use crate::paging::TokenPage;
use crate::parameters::Text;
use crate::schema::{request, response};

/// A hundred years.
const MOST_DAYS: i64 = 36_500;

request! { CreateRepository {
    /// A long description.
    detail: Option<Text> = Acr "Detail",
    /// The instance.
    _instance_id: String = Acr "InstanceId",
    /// The name within the namespace.
    repo_name: String = Acr "RepoName",
    /// The namespace, which must exist.
    repo_namespace_name: String = Acr "RepoNamespaceName",
    /// `PUBLIC` (anybody may pull) or `PRIVATE`.
    repo_type: String = Acr "RepoType",
    /// A short description.
    summary: Text = Acr "Summary",
    /// Whether tags may not be moved.
    tag_immutability: Option<bool> = Acr "TagImmutability",
    /// Days that a manifest without a tag is kept; -1 or left out: for ever.
    untagged_retention_days: Option<i64> = Extension "UntaggedRetentionDays",
} }

response! { CreatedRepository {
    /// The id of the new repository.
    repo_id: String = Acr "RepoId",
} }

fn repo_type(text: &str) -> Result<RepoType, ApiError> {
    text.parse().map_err(|error: UnknownRepoType| ApiError::invalid("RepoType", error.to_string()))
}

/// The days of a parameter; `None` is for ever.
fn untagged_days(days: i64) -> Result<Option<i64>, ApiError> {
    match days {
        -1 => Ok(None),
        0..=MOST_DAYS => Ok(Some(days)),
        _ => {
            let reason = format!("it must be -1, or from 0 to {MOST_DAYS}");
            Err(ApiError::invalid("UntaggedRetentionDays", reason))
        }
    }
}

#[async_trait]
impl Action for CreateRepository {
    type Response = CreatedRepository;

    async fn run(self, control: &Control, call: &Call) -> Result<CreatedRepository, ApiError> {
        let new = NewRepository {
            namespace_name: self.repo_namespace_name,
            name: self.repo_name,
            repo_type: Some(repo_type(&self.repo_type)?),
            tag_immutability: self.tag_immutability,
            summary: self.summary.0,
            detail: self.detail.map(|detail| detail.0).unwrap_or_default(),
            build_type: None,
            untagged_days: self.untagged_retention_days.map(untagged_days).transpose()?.flatten(),
        };
        let repositories = control.artifacts().repositories();
        let created = repositories.create(&call.ctx, call.instance_id()?, new).await;
        let repository = created.map_err(|error| named(error, "RepoName"))?;
        Ok(CreatedRepository { repo_id: repository.repo_id })
    }
}

request! { GetRepository {
    /// The instance.
    _instance_id: String = Acr "InstanceId",
    /// The id, or else namespace and name.
    _repo_id: Option<String> = Acr "RepoId",
    /// The name within the namespace.
    _repo_name: Option<String> = Acr "RepoName",
    /// The namespace.
    _repo_namespace_name: Option<String> = Acr "RepoNamespaceName",
} }

response! { RepositoryAnswer {
    /// Milliseconds since the epoch.
    create_time: i64 = Acr "CreateTime",
    /// The long description.
    detail: String = Acr "Detail",
    /// The instance.
    instance_id: String = Acr "InstanceId",
    /// Milliseconds since the epoch.
    modified_time: i64 = Acr "ModifiedTime",
    /// `MANUAL` or `AUTO`.
    repo_build_type: String = Acr "RepoBuildType",
    /// The id.
    repo_id: String = Acr "RepoId",
    /// The name within the namespace.
    repo_name: String = Acr "RepoName",
    /// The namespace.
    repo_namespace_name: String = Acr "RepoNamespaceName",
    /// `NORMAL`.
    repo_status: String = Acr "RepoStatus",
    /// `PUBLIC` or `PRIVATE`.
    repo_type: String = Acr "RepoType",
    /// Berth has no resource groups.
    resource_group_id: Option<String> = Acr "ResourceGroupId",
    /// The short description.
    summary: String = Acr "Summary",
    /// Whether tags may not be moved.
    tag_immutability: bool = Acr "TagImmutability",
    /// Days that a manifest without a tag is kept; left out: for ever.
    untagged_retention_days: Option<i64> = Extension "UntaggedRetentionDays",
} }

#[async_trait]
impl Action for GetRepository {
    type Response = RepositoryAnswer;

    async fn run(self, _: &Control, call: &Call) -> Result<RepositoryAnswer, ApiError> {
        let row = call.target.repository()?.clone();
        Ok(RepositoryAnswer {
            create_time: row.created_at,
            detail: row.detail,
            instance_id: row.instance_id,
            modified_time: row.modified_at,
            repo_build_type: row.build_type,
            repo_id: row.repo_id,
            repo_name: row.name,
            repo_namespace_name: row.namespace_name,
            repo_status: row.status,
            repo_type: row.repo_type,
            resource_group_id: None,
            summary: row.summary,
            tag_immutability: row.tag_immutability,
            untagged_retention_days: row.untagged_days,
        })
    }
}

request! { ListRepository {
    /// The instance.
    _instance_id: String = Acr "InstanceId",
    /// Repositories per page when walking by token, at most 100; wins over PageSize.
    max_results: Option<i64> = Acr "MaxResults",
    /// The `NextToken` of the page before.
    next_token: Option<String> = Acr "NextToken",
    /// The page, from 1.
    page_no: Option<i64> = Acr "PageNo",
    /// Repositories per page, 30 when left out, at most 100.
    page_size: Option<i64> = Acr "PageSize",
    /// Only repositories whose name contains this.
    repo_name: Option<String> = Acr "RepoName",
    /// Only repositories of this namespace.
    repo_namespace_name: Option<String> = Acr "RepoNamespaceName",
    /// Only repositories in this state; `ALL` for every one, which is also the default.
    repo_status: Option<String> = Acr "RepoStatus",
} }

response! { RepositoryList {
    /// Repositories per page, when walking by token.
    max_results: Option<i64> = Acr "MaxResults",
    /// The token of the next page, when walking by token and there is one.
    next_token: Option<String> = Acr "NextToken",
    /// The page.
    page_no: i64 = Acr "PageNo",
    /// Repositories per page.
    page_size: i64 = Acr "PageSize",
    /// The repositories of the page, by name.
    repositories: Vec<RepositoryRow> = Acr "Repositories",
    /// How many there are on all pages, as text.
    total_count: String = Acr "TotalCount",
} }

response! {
    /// A repository as a row.
    RepositoryRow {
        /// Milliseconds since the epoch.
        create_time: i64 = Acr "CreateTime",
        /// The instance.
        instance_id: String = Acr "InstanceId",
        /// Milliseconds since the epoch.
        modified_time: i64 = Acr "ModifiedTime",
        /// `MANUAL` or `AUTO`.
        repo_build_type: String = Acr "RepoBuildType",
        /// The id.
        repo_id: String = Acr "RepoId",
        /// The name within the namespace.
        repo_name: String = Acr "RepoName",
        /// The namespace.
        repo_namespace_name: String = Acr "RepoNamespaceName",
        /// `NORMAL`.
        repo_status: String = Acr "RepoStatus",
        /// `PUBLIC` or `PRIVATE`.
        repo_type: String = Acr "RepoType",
        /// Berth has no resource groups.
        resource_group_id: Option<String> = Acr "ResourceGroupId",
        /// The short description.
        summary: String = Acr "Summary",
        /// Whether tags may not be moved.
        tag_immutability: bool = Acr "TagImmutability",
    }
}

fn row(row: Repository) -> RepositoryRow {
    RepositoryRow {
        create_time: row.created_at,
        instance_id: row.instance_id,
        modified_time: row.modified_at,
        repo_build_type: row.build_type,
        repo_id: row.repo_id,
        repo_name: row.name,
        repo_namespace_name: row.namespace_name,
        repo_status: row.status,
        repo_type: row.repo_type,
        resource_group_id: None,
        summary: row.summary,
        tag_immutability: row.tag_immutability,
    }
}

#[async_trait]
impl Action for ListRepository {
    type Response = RepositoryList;

    async fn run(self, control: &Control, call: &Call) -> Result<RepositoryList, ApiError> {
        let walk = TokenPage::new(
            self.page_no,
            self.page_size,
            self.max_results,
            self.next_token.as_deref(),
        )?;
        let status = self.repo_status.unwrap_or_default();
        let filter = RepositoryFilter {
            instance_id: call.instance_id()?.to_owned(),
            namespace_name: self.repo_namespace_name.unwrap_or_default(),
            name_contains: self.repo_name.unwrap_or_default(),
            status: if status == "ALL" { String::new() } else { status },
        };
        let repositories = control.artifacts().repositories();
        let (mut rows, total) = if walk.is_by_token() {
            let after = walk.after().map(str::parse::<RepoName>).transpose();
            let after = after.map_err(|_| TokenPage::not_given())?;
            repositories.list_after(&filter, after.as_ref(), walk.one_more()).await?
        } else {
            repositories.list(&filter, walk.page).await?
        };
        let next_token = walk.cut(&mut rows, |row| format!("{}/{}", row.namespace_name, row.name));
        Ok(RepositoryList {
            max_results: walk.max_results(),
            next_token,
            page_no: walk.page.number,
            page_size: walk.page.size,
            repositories: rows.into_iter().map(row).collect(),
            total_count: total.to_string(),
        })
    }
}

request! { UpdateRepository {
    /// A long description.
    detail: Option<Text> = Acr "Detail",
    /// The instance.
    _instance_id: String = Acr "InstanceId",
    /// The id, or else namespace and name.
    _repo_id: Option<String> = Acr "RepoId",
    /// The name within the namespace.
    _repo_name: Option<String> = Acr "RepoName",
    /// The namespace.
    _repo_namespace_name: Option<String> = Acr "RepoNamespaceName",
    /// `PUBLIC` (anybody may pull) or `PRIVATE`.
    repo_type: String = Acr "RepoType",
    /// A short description.
    summary: Text = Acr "Summary",
    /// Whether tags may not be moved.
    tag_immutability: Option<bool> = Acr "TagImmutability",
    /// Days that a manifest without a tag is kept, counted from now on; -1 is for ever; left out,
    /// it stays.
    untagged_retention_days: Option<i64> = Extension "UntaggedRetentionDays",
} }

#[async_trait]
impl Action for UpdateRepository {
    type Response = Done;

    async fn run(self, control: &Control, call: &Call) -> Result<Done, ApiError> {
        let changes = RepositoryChanges {
            repo_type: Some(repo_type(&self.repo_type)?),
            tag_immutability: self.tag_immutability,
            summary: Some(self.summary.0),
            detail: self.detail.map(|detail| detail.0),
            untagged_days: self.untagged_retention_days.map(untagged_days).transpose()?,
        };
        let repo_id = &call.target.repository()?.repo_id;
        let repositories = control.artifacts().repositories();
        repositories.update(&call.ctx, call.instance_id()?, repo_id, changes).await?;
        Ok(Done {})
    }
}

request! { DeleteRepository {
    /// The instance.
    _instance_id: String = Acr "InstanceId",
    /// The id, or else namespace and name.
    _repo_id: Option<String> = Acr "RepoId",
    /// The name within the namespace.
    _repo_name: Option<String> = Acr "RepoName",
    /// The namespace.
    _repo_namespace_name: Option<String> = Acr "RepoNamespaceName",
} }

#[async_trait]
impl Action for DeleteRepository {
    type Response = Done;

    async fn run(self, control: &Control, call: &Call) -> Result<Done, ApiError> {
        let repo_id = &call.target.repository()?.repo_id;
        let repositories = control.artifacts().repositories();
        repositories.delete(&call.ctx, call.instance_id()?, repo_id).await?;
        Ok(Done {})
    }
}
