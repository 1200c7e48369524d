//! What an instance holds and may hold: `GetInstanceUsage`, `UpdateInstanceQuota`.

use async_trait::async_trait;
use berth_artifacts::{Measure, QuotaChange, QuotaChanges};

use crate::actions::Done;
use crate::control::Control;
use crate::error::ApiError;
use crate::operation::{Action, Call};
use crate::schema::{request, response};

request! { GetInstanceUsage {
    /// The instance.
    _instance_id: String = Acr "InstanceId",
} }

response! { InstanceUsage {
    /// Namespaces of charts that there may be: none, for charts are artifacts in repositories.
    chart_namespace_quota: String = Acr "ChartNamespaceQuota",
    /// Namespaces of charts.
    chart_namespace_usage: String = Acr "ChartNamespaceUsage",
    /// Repositories of charts that there may be.
    chart_repo_quota: String = Acr "ChartRepoQuota",
    /// Repositories of charts.
    chart_repo_usage: String = Acr "ChartRepoUsage",
    /// Namespaces that there may be; left out when there is no limit.
    namespace_quota: Option<String> = Acr "NamespaceQuota",
    /// Namespaces.
    namespace_usage: String = Acr "NamespaceUsage",
    /// Never set: Berth sells no units.
    performance_units: Option<i64> = Acr "PerformanceUnits",
    /// Repositories that there may be; left out when there is no limit.
    repo_quota: Option<String> = Acr "RepoQuota",
    /// Repositories.
    repo_usage: String = Acr "RepoUsage",
    /// Bytes that the repositories may hold; left out when there is no limit.
    storage_quota: Option<String> = Extension "StorageQuota",
    /// Bytes of the blobs of all repositories; one that several have counts in each.
    storage_usage: String = Extension "StorageUsage",
    /// Networks that may be linked: none.
    vpc_quota: String = Acr "VpcQuota",
    /// Networks that are linked.
    vpc_usage: String = Acr "VpcUsage",
} }

#[async_trait]
impl Action for GetInstanceUsage {
    type Response = InstanceUsage;

    async fn run(self, control: &Control, call: &Call) -> Result<InstanceUsage, ApiError> {
        let usage = control.artifacts().quotas().usage(call.instance_id()?).await?;
        let none = || "0".to_owned();
        let used = |measure: Measure| measure.used.to_string();
        let quota = |measure: Measure| measure.quota.map(|quota| quota.to_string());
        Ok(InstanceUsage {
            chart_namespace_quota: none(),
            chart_namespace_usage: none(),
            chart_repo_quota: none(),
            chart_repo_usage: none(),
            namespace_quota: quota(usage.namespaces),
            namespace_usage: used(usage.namespaces),
            performance_units: None,
            repo_quota: quota(usage.repositories),
            repo_usage: used(usage.repositories),
            storage_quota: quota(usage.storage),
            storage_usage: used(usage.storage),
            vpc_quota: none(),
            vpc_usage: none(),
        })
    }
}

request! { UpdateInstanceQuota {
    /// The instance.
    _instance_id: String = Extension "InstanceId",
    /// Namespaces: 0 is without limit, -1 takes the server's default; left out, it stays.
    namespace_quota: Option<i64> = Extension "NamespaceQuota",
    /// Repositories, likewise.
    repo_quota: Option<i64> = Extension "RepoQuota",
    /// Bytes of the blobs of all repositories, likewise.
    storage_quota: Option<i64> = Extension "StorageQuota",
} }

#[async_trait]
impl Action for UpdateInstanceQuota {
    type Response = Done;

    async fn run(self, control: &Control, call: &Call) -> Result<Done, ApiError> {
        let changes = QuotaChanges {
            storage: change("StorageQuota", self.storage_quota)?,
            namespaces: change("NamespaceQuota", self.namespace_quota)?,
            repositories: change("RepoQuota", self.repo_quota)?,
        };
        control.artifacts().quotas().update(&call.ctx, call.instance_id()?, changes).await?;
        Ok(Done {})
    }
}

fn change(parameter: &str, value: Option<i64>) -> Result<Option<QuotaChange>, ApiError> {
    match value {
        None => Ok(None),
        Some(-1) => Ok(Some(QuotaChange::Default)),
        Some(value) => {
            u64::try_from(value).map(|value| Some(QuotaChange::To(value))).map_err(|_| {
                ApiError::invalid(parameter, format!("`{value}` is neither a number from 0 nor -1"))
            })
        }
    }
}
