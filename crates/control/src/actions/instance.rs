//! Instances: `GetInstance`, `ListInstance`.

use async_trait::async_trait;
use berth_artifacts::Instance;
use berth_metadata::Page;

use crate::control::Control;
use crate::error::ApiError;
use crate::operation::{Action, Call};
use crate::paging::page;
use crate::schema::{request, response};

/// An account has far fewer instances; ACR's quota is three.
const MAX_INSTANCES: i64 = 1000;
const STATES: [&str; 8] =
    ["PENDING", "INIT_ERROR", "STARTING", "RUNNING", "STOPPING", "STOPPED", "DELETING", "DELETED"];

request! { GetInstance {
    /// The instance.
    _instance_id: String = Acr "InstanceId",
} }

response! { InstanceAnswer {
    /// Milliseconds since the epoch.
    create_time: i64 = Acr "CreateTime",
    /// The id.
    instance_id: String = Acr "InstanceId",
    /// What is wrong with the instance; never set, since Berth needs no bucket or role.
    instance_issue: Option<String> = Acr "InstanceIssue",
    /// The name.
    instance_name: String = Acr "InstanceName",
    /// The edition.
    instance_specification: String = Acr "InstanceSpecification",
    /// `RUNNING` and others.
    instance_status: String = Acr "InstanceStatus",
    /// Milliseconds since the epoch.
    modified_time: i64 = Acr "ModifiedTime",
    /// Berth has no resource groups.
    resource_group_id: Option<String> = Acr "ResourceGroupId",
    /// The tags of the instance.
    tags: Vec<InstanceTag> = Acr "Tags",
} }

response! {
    /// A tag of an instance.
    InstanceTag {
        /// Its key.
        tag_key: String = Acr "TagKey",
        /// Its value.
        tag_value: String = Acr "TagValue",
    }
}

#[async_trait]
impl Action for GetInstance {
    type Response = InstanceAnswer;

    async fn run(self, _: &Control, call: &Call) -> Result<InstanceAnswer, ApiError> {
        let instance = call.target.instance()?.clone();
        Ok(InstanceAnswer {
            create_time: instance.created_at,
            instance_id: instance.instance_id,
            instance_issue: None,
            instance_name: instance.name,
            instance_specification: instance.specification,
            instance_status: instance.status,
            modified_time: instance.modified_at,
            resource_group_id: None,
            tags: Vec::new(),
        })
    }
}

request! { ListInstance {
    /// Only the instance of this name.
    instance_name: Option<String> = Acr "InstanceName",
    /// Only instances in this state.
    instance_status: Option<String> = Acr "InstanceStatus",
    /// The page, from 1.
    page_no: Option<i64> = Acr "PageNo",
    /// Instances per page, 30 when left out, at most 100.
    page_size: Option<i64> = Acr "PageSize",
    /// Without effect: Berth has no resource groups.
    _resource_group_id: Option<String> = Acr "ResourceGroupId",
} }

response! { InstanceList {
    /// The instances of the page, oldest first.
    instances: Vec<InstanceRow> = Acr "Instances",
    /// The page.
    page_no: i64 = Acr "PageNo",
    /// Instances per page.
    page_size: i64 = Acr "PageSize",
    /// How many there are on all pages.
    total_count: i64 = Acr "TotalCount",
} }

response! {
    /// An instance as a row; its times are texts here.
    InstanceRow {
        /// Milliseconds since the epoch, as text.
        create_time: String = Acr "CreateTime",
        /// The id.
        instance_id: String = Acr "InstanceId",
        /// Never set.
        instance_issue: Option<String> = Acr "InstanceIssue",
        /// The name.
        instance_name: String = Acr "InstanceName",
        /// The edition.
        instance_specification: String = Acr "InstanceSpecification",
        /// `RUNNING` and others.
        instance_status: String = Acr "InstanceStatus",
        /// Milliseconds since the epoch, as text.
        modified_time: String = Acr "ModifiedTime",
        /// The region.
        region_id: String = Acr "RegionId",
        /// Never set.
        resource_group_id: Option<String> = Acr "ResourceGroupId",
        /// The tags of the instance.
        tags: Vec<InstanceTag> = Acr "Tags",
    }
}

#[async_trait]
impl Action for ListInstance {
    type Response = InstanceList;

    async fn run(self, control: &Control, call: &Call) -> Result<InstanceList, ApiError> {
        let page = page(self.page_no, self.page_size)?;
        let status = self.instance_status.unwrap_or_default();
        if !status.is_empty() && !STATES.contains(&status.as_str()) {
            return Err(ApiError::invalid("InstanceStatus", format!("`{status}` is no state")));
        }
        let name = self.instance_name.unwrap_or_default();
        let account = &call.ctx.identity.account_id;
        let all = Page::new(1, MAX_INSTANCES);
        let (mut instances, _) = control.artifacts().instances().list(account, &name, all).await?;
        instances.retain(|instance| status.is_empty() || instance.status == status);
        let total_count = i64::try_from(instances.len()).unwrap_or(i64::MAX);
        let skip = usize::try_from(page.offset()).unwrap_or(usize::MAX);
        let take = usize::try_from(page.limit()).unwrap_or(usize::MAX);
        Ok(InstanceList {
            instances: instances.into_iter().skip(skip).take(take).map(row).collect(),
            page_no: page.number,
            page_size: page.size,
            total_count,
        })
    }
}

fn row(instance: Instance) -> InstanceRow {
    InstanceRow {
        create_time: instance.created_at.to_string(),
        instance_id: instance.instance_id,
        instance_issue: None,
        instance_name: instance.name,
        instance_specification: instance.specification,
        instance_status: instance.status,
        modified_time: instance.modified_at.to_string(),
        region_id: instance.region,
        resource_group_id: None,
        tags: Vec::new(),
    }
}
