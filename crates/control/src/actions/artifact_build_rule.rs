//! Artifact build rules: `CreateArtifactBuildRule`, `GetArtifactBuildRule`.

use async_trait::async_trait;
use berth_builder::{ARTIFACT_TYPE, NewRule, Parameters, RuleKey, SCOPE_REPOSITORY};

use crate::control::Control;
use crate::error::ApiError;
use crate::operation::{Action, Call};
use crate::parameters::Json;
use crate::schema::{request, response};

request! { CreateArtifactBuildRule {
    /// `ACCELERATED_IMAGE`.
    artifact_type: String = Acr "ArtifactType",
    /// The instance.
    _instance_id: String = Acr "InstanceId",
    /// `ImageIndexOnly`, `PriorityFile`, `Priority`; extension: `BuildTypes`.
    parameters: Option<Json<Parameters>> = Acr "Parameters",
    /// The repository's id.
    scope_id: String = Acr "ScopeId",
    /// `REPOSITORY`.
    scope_type: String = Acr "ScopeType",
} }

response! { CreatedBuildRule {
    /// The id of the new rule.
    build_rule_id: String = Acr "BuildRuleId",
} }

#[async_trait]
impl Action for CreateArtifactBuildRule {
    type Response = CreatedBuildRule;

    async fn run(self, control: &Control, call: &Call) -> Result<CreatedBuildRule, ApiError> {
        let new = NewRule {
            artifact_type: self.artifact_type,
            scope_type: self.scope_type,
            scope_id: self.scope_id,
            parameters: self.parameters.map(|json| json.0).unwrap_or_default(),
        };
        let rule_id = control.builder().create_rule(&call.ctx, call.instance_id()?, new).await?;
        Ok(CreatedBuildRule { build_rule_id: rule_id })
    }
}

request! { GetArtifactBuildRule {
    /// `ACCELERATED_IMAGE`, also when left out.
    artifact_type: Option<String> = Acr "ArtifactType",
    /// The id, or else the scope.
    build_rule_id: Option<String> = Acr "BuildRuleId",
    /// The instance.
    _instance_id: String = Acr "InstanceId",
    /// The repository's id.
    scope_id: Option<String> = Acr "ScopeId",
    /// `REPOSITORY`, also when left out.
    scope_type: Option<String> = Acr "ScopeType",
} }

response! { BuildRuleAnswer {
    /// `ACCELERATED_IMAGE`.
    artifact_type: String = Acr "ArtifactType",
    /// The id.
    build_rule_id: String = Acr "BuildRuleId",
    /// How it builds.
    parameters: BuildRuleParameters = Acr "Parameters",
    /// The repository's id.
    scope_id: String = Acr "ScopeId",
    /// `REPOSITORY`.
    scope_type: String = Acr "ScopeType",
} }

response! {
    /// How a rule builds.
    BuildRuleParameters {
        /// Index over the original layers instead of new layers.
        image_index_only: bool = Acr "ImageIndexOnly",
        /// 1 to 5, higher first; absent when the rule has none.
        priority: Option<i64> = Acr "Priority",
        /// Base64 of the paths that a start reads first.
        priority_file: Option<String> = Acr "PriorityFile",
        /// What is built; absent when the rule says nothing about it.
        build_types: Option<Vec<&'static str>> = Extension "BuildTypes",
    }
}

pub(crate) fn parameters_answer(parameters: Parameters) -> BuildRuleParameters {
    let build_types: Vec<_> =
        parameters.build_types.iter().map(|build_type| build_type.as_str()).collect();
    BuildRuleParameters {
        image_index_only: parameters.image_index_only,
        priority: parameters.priority,
        priority_file: parameters.priority_file,
        build_types: (!build_types.is_empty()).then_some(build_types),
    }
}

#[async_trait]
impl Action for GetArtifactBuildRule {
    type Response = BuildRuleAnswer;

    async fn run(self, control: &Control, call: &Call) -> Result<BuildRuleAnswer, ApiError> {
        let key = match (self.build_rule_id, self.scope_id) {
            (Some(rule_id), _) => RuleKey::Id(rule_id),
            (None, Some(scope_id)) => RuleKey::Scope {
                scope_type: self.scope_type.unwrap_or_else(|| SCOPE_REPOSITORY.to_owned()),
                scope_id,
                artifact_type: self.artifact_type.unwrap_or_else(|| ARTIFACT_TYPE.to_owned()),
            },
            (None, None) => return Err(ApiError::missing("BuildRuleId")),
        };
        let rule = control.builder().get_rule(&call.ctx, call.instance_id()?, &key).await?;
        Ok(BuildRuleAnswer {
            artifact_type: rule.artifact_type,
            build_rule_id: rule.rule_id,
            parameters: parameters_answer(rule.parameters),
            scope_id: rule.scope_id,
            scope_type: rule.scope_type,
        })
    }
}
