//! Namespaces: create, get, list, update, delete.

use async_trait::async_trait;
use berth_artifacts::{
    Namespace, NamespaceChanges, NamespaceFilter, NewNamespace, RepoType, UnknownRepoType,
};
use berth_builder::Parameters as BuildParameters;
use serde::{Deserialize, Deserializer};

use super::Done;
use crate::control::Control;
use crate::error::{ApiError, named};
use crate::operation::{Action, Call};
use crate::paging::page;
use crate::parameters::Json;
use crate::schema::{request, response};

/// What repositories of a namespace are like from birth. ACR sends booleans, clients also texts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RepoConfiguration {
    repo_type: Option<String>,
    #[serde(deserialize_with = "lenient_bool")]
    tag_immutability: Option<bool>,
    artifact_build_rule_parameters: Option<BuildParameters>,
}

fn lenient_bool<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Bool(bool),
        Text(String),
    }
    match Option::<Either>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Either::Bool(value)) => Ok(Some(value)),
        Some(Either::Text(text)) => match text.to_ascii_lowercase().as_str() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => Err(serde::de::Error::custom(format!("`{text}` is neither true nor false"))),
        },
    }
}

/// The type of new repositories: of the configuration, else of the older parameter.
fn repo_type_of(
    configuration: &RepoConfiguration,
    older: Option<&String>,
) -> Result<Option<RepoType>, ApiError> {
    let (parameter, text) = match (&configuration.repo_type, older) {
        (Some(text), _) => ("DefaultRepoConfiguration", text),
        (None, Some(text)) => ("DefaultRepoType", text),
        (None, None) => return Ok(None),
    };
    text.parse()
        .map(Some)
        .map_err(|error: UnknownRepoType| ApiError::invalid(parameter, error.to_string()))
}

fn build_rule_of(configuration: &RepoConfiguration) -> Result<Option<String>, ApiError> {
    let Some(parameters) = &configuration.artifact_build_rule_parameters else { return Ok(None) };
    parameters.check()?;
    serde_json::to_string(parameters).map(Some).map_err(ApiError::internal)
}

request! { CreateNamespace {
    /// Whether a push may make repositories; true when left out.
    auto_create_repo: Option<bool> = Acr "AutoCreateRepo",
    /// `RepoType`, `TagImmutability` and `ArtifactBuildRuleParameters` of new repositories.
    default_repo_configuration: Option<Json<RepoConfiguration>> = Acr "DefaultRepoConfiguration",
    /// The older way to give the type of new repositories: `PUBLIC` or `PRIVATE`.
    default_repo_type: Option<String> = Acr "DefaultRepoType",
    /// The instance.
    _instance_id: String = Acr "InstanceId",
    /// The name: lower-case letters and digits, with `.`, `_` and `-` between them.
    namespace_name: String = Acr "NamespaceName",
} }

#[async_trait]
impl Action for CreateNamespace {
    type Response = Done;

    async fn run(self, control: &Control, call: &Call) -> Result<Done, ApiError> {
        let configuration = self.default_repo_configuration.map(|json| json.0).unwrap_or_default();
        let repo_type = repo_type_of(&configuration, self.default_repo_type.as_ref())?;
        let new = NewNamespace {
            name: self.namespace_name,
            auto_create_repo: self.auto_create_repo.unwrap_or(true),
            default_repo_type: repo_type.unwrap_or(RepoType::Private),
            default_tag_immutability: configuration.tag_immutability.unwrap_or(false),
            build_rule_parameters: build_rule_of(&configuration)?,
        };
        let namespaces = control.artifacts().namespaces();
        let created = namespaces.create(&call.ctx, call.instance_id()?, new).await;
        created.map_err(|error| named(error, "NamespaceName"))?;
        Ok(Done {})
    }
}

request! { GetNamespace {
    /// The instance.
    _instance_id: String = Acr "InstanceId",
    /// The id, when the name is not given.
    _namespace_id: Option<String> = Acr "NamespaceId",
    /// The name.
    _namespace_name: Option<String> = Acr "NamespaceName",
} }

response! {
    /// A namespace, by itself and as a row.
    NamespaceAnswer {
        /// Whether a push may make repositories.
        auto_create_repo: bool = Acr "AutoCreateRepo",
        /// What new repositories are like.
        default_repo_configuration: RepoConfigurationAnswer = Acr "DefaultRepoConfiguration",
        /// The type of new repositories, once more.
        default_repo_type: String = Acr "DefaultRepoType",
        /// The instance.
        instance_id: String = Acr "InstanceId",
        /// The id.
        namespace_id: String = Acr "NamespaceId",
        /// The name.
        namespace_name: String = Acr "NamespaceName",
        /// `NORMAL` or `DELETING`.
        namespace_status: String = Acr "NamespaceStatus",
        /// Berth has no resource groups.
        resource_group_id: Option<String> = Acr "ResourceGroupId",
    }
}

response! {
    /// What new repositories are like.
    RepoConfigurationAnswer {
        /// The build rule of new repositories; absent when they get none.
        artifact_build_rule_parameters: Option<BuildRuleParameters> =
            Acr "ArtifactBuildRuleParameters",
        /// `PUBLIC` or `PRIVATE`.
        repo_type: String = Acr "RepoType",
        /// Whether tags may not be moved.
        tag_immutability: bool = Acr "TagImmutability",
    }
}

response! {
    /// The build rule of new repositories.
    BuildRuleParameters {
        /// Index over the original layers instead of new layers.
        image_index_only: bool = Acr "ImageIndexOnly",
    }
}

fn answer(namespace: Namespace) -> Result<NamespaceAnswer, ApiError> {
    let parameters = namespace.build_rule_parameters.as_deref();
    let parameters: Option<BuildParameters> =
        parameters.map(serde_json::from_str).transpose().map_err(ApiError::internal)?;
    Ok(NamespaceAnswer {
        auto_create_repo: namespace.auto_create_repo,
        default_repo_configuration: RepoConfigurationAnswer {
            artifact_build_rule_parameters: parameters.map(|parameters| BuildRuleParameters {
                image_index_only: parameters.image_index_only,
            }),
            repo_type: namespace.default_repo_type.clone(),
            tag_immutability: namespace.default_tag_immutability,
        },
        default_repo_type: namespace.default_repo_type,
        instance_id: namespace.instance_id,
        namespace_id: namespace.namespace_id,
        namespace_name: namespace.name,
        namespace_status: namespace.status,
        resource_group_id: None,
    })
}

#[async_trait]
impl Action for GetNamespace {
    type Response = NamespaceAnswer;

    async fn run(self, _: &Control, call: &Call) -> Result<NamespaceAnswer, ApiError> {
        answer(call.target.namespace()?.clone())
    }
}

request! { ListNamespace {
    /// The instance.
    _instance_id: String = Acr "InstanceId",
    /// Only namespaces whose name contains this.
    namespace_name: Option<String> = Acr "NamespaceName",
    /// Only namespaces in this state.
    namespace_status: Option<String> = Acr "NamespaceStatus",
    /// The page, from 1.
    page_no: Option<i64> = Acr "PageNo",
    /// Namespaces per page, 30 when left out, at most 100.
    page_size: Option<i64> = Acr "PageSize",
} }

response! { NamespaceList {
    /// The namespaces of the page, by name.
    namespaces: Vec<NamespaceAnswer> = Acr "Namespaces",
    /// The page.
    page_no: i64 = Acr "PageNo",
    /// Namespaces per page.
    page_size: i64 = Acr "PageSize",
    /// How many there are on all pages, as text.
    total_count: String = Acr "TotalCount",
} }

#[async_trait]
impl Action for ListNamespace {
    type Response = NamespaceList;

    async fn run(self, control: &Control, call: &Call) -> Result<NamespaceList, ApiError> {
        let page = page(self.page_no, self.page_size)?;
        let filter = NamespaceFilter {
            instance_id: call.instance_id()?.to_owned(),
            name_contains: self.namespace_name.unwrap_or_default(),
            status: self.namespace_status.unwrap_or_default(),
        };
        let (rows, total) = control.artifacts().namespaces().list(&filter, page).await?;
        Ok(NamespaceList {
            namespaces: rows.into_iter().map(answer).collect::<Result<_, _>>()?,
            page_no: page.number,
            page_size: page.size,
            total_count: total.to_string(),
        })
    }
}

request! { UpdateNamespace {
    /// Whether a push may make repositories.
    auto_create_repo: Option<bool> = Acr "AutoCreateRepo",
    /// `RepoType`, `TagImmutability` and `ArtifactBuildRuleParameters` of new repositories.
    default_repo_configuration: Option<Json<RepoConfiguration>> = Acr "DefaultRepoConfiguration",
    /// The older way to give the type of new repositories: `PUBLIC` or `PRIVATE`.
    default_repo_type: Option<String> = Acr "DefaultRepoType",
    /// The instance.
    _instance_id: String = Acr "InstanceId",
    /// The name.
    namespace_name: String = Acr "NamespaceName",
} }

#[async_trait]
impl Action for UpdateNamespace {
    type Response = Done;

    async fn run(self, control: &Control, call: &Call) -> Result<Done, ApiError> {
        let given = self.default_repo_configuration.is_some();
        let configuration = self.default_repo_configuration.map(|json| json.0).unwrap_or_default();
        let changes = NamespaceChanges {
            auto_create_repo: self.auto_create_repo,
            default_repo_type: repo_type_of(&configuration, self.default_repo_type.as_ref())?,
            default_tag_immutability: configuration.tag_immutability,
            // A configuration without build rule parameters takes them away.
            build_rule_parameters: match given {
                true => Some(build_rule_of(&configuration)?),
                false => None,
            },
        };
        let namespaces = control.artifacts().namespaces();
        namespaces.update(&call.ctx, call.instance_id()?, &self.namespace_name, changes).await?;
        Ok(Done {})
    }
}

request! { DeleteNamespace {
    /// The instance.
    _instance_id: String = Acr "InstanceId",
    /// The name.
    namespace_name: String = Acr "NamespaceName",
} }

#[async_trait]
impl Action for DeleteNamespace {
    type Response = Done;

    async fn run(self, control: &Control, call: &Call) -> Result<Done, ApiError> {
        let namespaces = control.artifacts().namespaces();
        namespaces.delete(&call.ctx, call.instance_id()?, &self.namespace_name).await?;
        Ok(Done {})
    }
}
