//! The operation table: everything that the control plane can do.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::actions::artifact_build_rule::{CreateArtifactBuildRule, GetArtifactBuildRule};
use crate::actions::artifact_build_task::{
    CancelArtifactBuildTask, CreateArtifactBuildTask, GetArtifactBuildTask, ListArtifactBuildTask,
    ListArtifactBuildTaskLog,
};
use crate::actions::artifact_subscription_rule::{
    CreateArtifactSubscriptionRule, DeleteArtifactSubscriptionRule, GetArtifactSubscriptionRule,
    ListArtifactSubscriptionRule, UpdateArtifactSubscriptionRule,
};
use crate::actions::artifact_subscription_task::{
    CancelArtifactSubscriptionTask, CreateArtifactSubscriptionTask, GetArtifactSubscriptionTask,
    GetArtifactSubscriptionTaskResult, ListArtifactSubscriptionTask,
    ListArtifactSubscriptionTaskLog,
};
use crate::actions::authorization_token::GetAuthorizationToken;
use crate::actions::endpoint::{GetInstanceEndpoint, ListInstanceEndpoint};
use crate::actions::instance::{GetInstance, ListInstance};
use crate::actions::instance_usage::{GetInstanceUsage, UpdateInstanceQuota};
use crate::actions::maintenance_task::{
    CancelMaintenanceTask, CreateMaintenanceTask, GetMaintenanceTask, ListMaintenanceTask,
    ListMaintenanceTaskLog,
};
use crate::actions::namespace::{
    CreateNamespace, DeleteNamespace, GetNamespace, ListNamespace, UpdateNamespace,
};
use crate::actions::repository::{
    CreateRepository, DeleteRepository, GetRepository, ListRepository, UpdateRepository,
};
use crate::actions::tag::{DeleteRepoTag, GetRepoTag, ListRepoTag};
use crate::operation::{Extent, Operation};

/// The version of ACR's API.
pub const VERSION: &str = "2018-12-01";

const GET: &[&str] = &["GET"];
const POST: &[&str] = &["POST"];
const BOTH: &[&str] = &["GET", "POST"];
const POST_PUT: &[&str] = &["POST", "PUT"];

/// One line per operation: stage, type of the action (which has its name), methods, RAM action,
/// extent, and what it does.
macro_rules! table {
    ($($stage:ident $action:ident $methods:ident $ram:literal $extent:expr, $doc:literal;)*) => {
        &[$(Operation::$stage::<$action>(
            stringify!($action),
            $methods,
            $ram,
            $extent,
            $doc,
        ),)*]
    };
}

static OPERATIONS: &[Operation] = table! {
    acr GetInstance BOTH "cr:GetInstance" Extent::Instance,
        "Reads an instance.";
    acr ListInstance BOTH "cr:ListInstance" Extent::Instances,
        "Lists the instances of the account.";
    acr GetInstanceUsage BOTH "cr:GetInstanceUsage" Extent::Instance,
        "Reads what an instance holds and may hold.";
    extension UpdateInstanceQuota POST "cr:UpdateInstanceQuota" Extent::Instance,
        "Changes what an instance may hold; what is left out stays.";
    acr GetInstanceEndpoint BOTH "cr:GetInstanceEndpoint" Extent::Instance,
        "Reads an access entry of an instance: its host names and who may come in.";
    acr ListInstanceEndpoint BOTH "cr:ListInstanceEndpoint" Extent::Instance,
        "Lists the access entries of an instance.";
    acr GetAuthorizationToken BOTH "cr:GetAuthorizationToken" Extent::Everything,
        "Issues a temporary user name and password for docker.";

    acr CreateNamespace BOTH "cr:CreateNamespace" Extent::Repositories,
        "Makes a namespace.";
    acr GetNamespace BOTH "cr:GetNamespace" Extent::Namespace("NamespaceName"),
        "Reads a namespace by name or id.";
    acr ListNamespace BOTH "cr:ListNamespace" Extent::Repositories,
        "Lists the namespaces of an instance, by name.";
    acr UpdateNamespace BOTH "cr:UpdateNamespace" Extent::Namespace("NamespaceName"),
        "Changes what repositories of a namespace are like from birth.";
    acr DeleteNamespace BOTH "cr:DeleteNamespace" Extent::Namespace("NamespaceName"),
        "Deletes a namespace with its repositories and everything in them.";

    acr CreateRepository BOTH "cr:CreateRepository" Extent::Namespace("RepoNamespaceName"),
        "Makes a repository in a namespace.";
    acr GetRepository BOTH "cr:GetRepository" Extent::Repository,
        "Reads a repository by id, or by namespace and name.";
    acr ListRepository BOTH "cr:ListRepository" Extent::NamespaceOrAll("RepoNamespaceName"),
        "Lists the repositories of an instance or of one namespace, by name.";
    acr UpdateRepository BOTH "cr:UpdateRepository" Extent::Repository,
        "Changes a repository's type, descriptions and tag immutability.";
    acr DeleteRepository BOTH "cr:DeleteRepository" Extent::Repository,
        "Deletes a repository with its images.";

    acr ListRepoTag BOTH "cr:ListRepositoryTag" Extent::Repository,
        "Lists the tags of a repository, derived ones included.";
    acr GetRepoTag GET "cr:GetRepoTag" Extent::Repository,
        "Reads one tag.";
    acr DeleteRepoTag BOTH "cr:DeleteRepositoryTag" Extent::Repository,
        "Deletes one tag.";

    acr CreateArtifactBuildRule POST "cr:CreateArtifactBuildRule" Extent::Instance,
        "Turns the building of accelerated images on for a repository.";
    acr GetArtifactBuildRule GET "cr:GetArtifactBuildRule" Extent::Instance,
        "Reads a build rule by id, or by its repository.";
    acr GetArtifactBuildTask GET "cr:GetArtifactBuildTask" Extent::Instance,
        "Reads a build task.";
    acr CancelArtifactBuildTask POST_PUT "cr:CancelArtifactBuildTask" Extent::Instance,
        "Ends a build task that waits or runs; it then reads FAILED.";
    acr ListArtifactBuildTaskLog GET "cr:ListArtifactBuildTaskLog" Extent::Instance,
        "Pages through the log of a build task.";
    extension CreateArtifactBuildTask POST "cr:CreateArtifactBuildTask" Extent::Repository,
        "Builds the accelerated image of a tag now, with or without a rule.";
    extension ListArtifactBuildTask BOTH "cr:ListArtifactBuildTask" Extent::Instance,
        "Lists the build tasks of an instance, newest first.";

    acr CreateArtifactSubscriptionRule POST "cr:CreateArtifactSubscriptionRule" Extent::Instance,
        "Makes a rule that copies tags of an upstream repository into one of the instance.";
    acr GetArtifactSubscriptionRule GET "cr:GetArtifactSubscriptionRule" Extent::Instance,
        "Reads a subscription rule.";
    acr UpdateArtifactSubscriptionRule POST "cr:UpdateArtifactSubscriptionRule" Extent::Instance,
        "Changes a subscription rule; what is left out stays.";
    acr DeleteArtifactSubscriptionRule POST "cr:DeleteArtifactSubscriptionRule" Extent::Instance,
        "Deletes a subscription rule; what it copied and its tasks stay.";
    acr ListArtifactSubscriptionRule GET "cr:ListArtifactSubscriptionRule" Extent::Instance,
        "Lists the subscription rules of an instance, newest first.";
    acr CreateArtifactSubscriptionTask POST "cr:CreateArtifactSubscriptionTask" Extent::Instance,
        "Runs a subscription rule now.";
    acr GetArtifactSubscriptionTask GET "cr:GetArtifactSubscriptionTask" Extent::Instance,
        "Reads a run of a subscription rule.";
    acr ListArtifactSubscriptionTask GET "cr:ListArtifactSubscriptionTask" Extent::Instance,
        "Lists the runs of all subscription rules of an instance, newest first.";
    acr GetArtifactSubscriptionTaskResult GET "cr:GetArtifactSubscriptionTaskResult"
        Extent::Instance,
        "Pages through the rows of a run, one per selected tag.";
    extension CancelArtifactSubscriptionTask POST_PUT "cr:CancelArtifactSubscriptionTask"
        Extent::Instance,
        "Ends a run that waits or runs; its result then reads FAILED.";
    extension ListArtifactSubscriptionTaskLog GET "cr:ListArtifactSubscriptionTaskLog"
        Extent::Instance,
        "Pages through the log of a run.";

    extension CreateMaintenanceTask POST "cr:CreateMaintenanceTask" Extent::InstanceOrEverything,
        "Collects garbage, or reads every blob again, now.";
    extension GetMaintenanceTask BOTH "cr:GetMaintenanceTask" Extent::InstanceOrEverything,
        "Reads a maintenance task.";
    extension ListMaintenanceTask BOTH "cr:ListMaintenanceTask" Extent::InstanceOrEverything,
        "Lists the maintenance tasks of an instance or of the server, newest first.";
    extension ListMaintenanceTaskLog BOTH "cr:ListMaintenanceTaskLog" Extent::InstanceOrEverything,
        "Pages through the log of a maintenance task.";
    extension CancelMaintenanceTask POST "cr:CancelMaintenanceTask" Extent::InstanceOrEverything,
        "Ends a maintenance task that waits or runs; what it did stays done.";
};

static BY_NAME: LazyLock<HashMap<&'static str, &'static Operation>> =
    LazyLock::new(|| OPERATIONS.iter().map(|operation| (operation.name, operation)).collect());

/// The whole table.
pub fn operations() -> &'static [Operation] {
    OPERATIONS
}

/// The operation of that exact name.
pub fn find(name: &str) -> Option<&'static Operation> {
    BY_NAME.get(name).copied()
}
