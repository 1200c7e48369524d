//! Build rules: `CreateArtifactBuildRule`, `GetArtifactBuildRule`.

use berth_metadata::tables::artifact_build_rule;
use berth_metadata::{DbErrorKind, Session};
use berth_types::{Ctx, Millis, id};

use crate::builder::Builder;
use crate::error::{BuildError, BuildErrorKind};
use crate::parameters::Parameters;

/// The only artifact type that ACR knows for build rules.
pub const ARTIFACT_TYPE: &str = "ACCELERATED_IMAGE";
/// The only scope that ACR knows for build rules.
pub const SCOPE_REPOSITORY: &str = "REPOSITORY";

/// A rule as it is asked for.
#[derive(Debug, Clone)]
pub struct NewRule {
    pub artifact_type: String,
    pub scope_type: String,
    pub scope_id: String,
    pub parameters: Parameters,
}

/// How a rule is looked up.
#[derive(Debug, Clone)]
pub enum RuleKey {
    Id(String),
    Scope { scope_type: String, scope_id: String, artifact_type: String },
}

/// A rule as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildRule {
    pub rule_id: String,
    pub instance_id: String,
    pub artifact_type: String,
    pub scope_type: String,
    pub scope_id: String,
    pub parameters: Parameters,
    pub created_at: Millis,
    pub modified_at: Millis,
}

impl Builder {
    /// Turns building on for a repository and returns the rule's id.
    ///
    /// # Errors
    /// `InvalidParameter` and `Unsupported` name what is wrong with the request,
    /// `RepositoryNotFound` and `RuleExists` say so.
    pub async fn create_rule(
        &self,
        _ctx: &Ctx,
        instance_id: &str,
        new: NewRule,
    ) -> Result<String, BuildError> {
        if new.artifact_type != ARTIFACT_TYPE {
            return Err(BuildError::refused(
                BuildErrorKind::InvalidParameter("ArtifactType"),
                format!("ArtifactType `{}` is not known; use {ARTIFACT_TYPE}", new.artifact_type),
            ));
        }
        if new.scope_type != SCOPE_REPOSITORY {
            return Err(BuildError::refused(
                BuildErrorKind::InvalidParameter("ScopeType"),
                format!("ScopeType `{}` is not known; use {SCOPE_REPOSITORY}", new.scope_type),
            ));
        }
        new.parameters.check()?;
        let mut session = self.db().begin().await?;
        let repository =
            self.artifacts().repositories().find_by_id_in(&mut session, &new.scope_id).await?;
        if repository.is_none_or(|repository| repository.instance_id != instance_id) {
            return Err(BuildError::refused(
                BuildErrorKind::RepositoryNotFound,
                format!("repository `{}` does not exist in this instance", new.scope_id),
            ));
        }
        let rule_id =
            insert_rule(&mut session, instance_id, &new.scope_id, &new.parameters, self.now())
                .await?;
        session.commit().await?;
        Ok(rule_id)
    }

    /// The rule of an id or of a scope.
    ///
    /// # Errors
    /// `RuleNotFound` when there is none in this instance.
    pub async fn get_rule(
        &self,
        _ctx: &Ctx,
        instance_id: &str,
        key: &RuleKey,
    ) -> Result<BuildRule, BuildError> {
        let mut session = self.db().read().await?;
        let (row, what) = match key {
            RuleKey::Id(rule_id) => (
                artifact_build_rule::find(&mut session, instance_id, rule_id).await?,
                rule_id.clone(),
            ),
            RuleKey::Scope { scope_type, scope_id, artifact_type } => (
                artifact_build_rule::find_by_scope(
                    &mut session,
                    scope_type,
                    scope_id,
                    artifact_type,
                )
                .await?
                .filter(|rule| rule.instance_id == instance_id),
                format!("{scope_type} {scope_id} {artifact_type}"),
            ),
        };
        let row = row.ok_or_else(|| {
            BuildError::refused(
                BuildErrorKind::RuleNotFound,
                format!("build rule `{what}` does not exist"),
            )
        })?;
        Ok(BuildRule {
            parameters: Parameters::from_json(&row.parameters),
            rule_id: row.rule_id,
            instance_id: row.instance_id,
            artifact_type: row.artifact_type,
            scope_type: row.scope_type,
            scope_id: row.scope_id,
            created_at: row.created_at,
            modified_at: row.modified_at,
        })
    }
}

/// Inserts the rule of a repository; a second one is refused.
pub(crate) async fn insert_rule(
    session: &mut Session,
    instance_id: &str,
    repo_id: &str,
    parameters: &Parameters,
    now: Millis,
) -> Result<String, BuildError> {
    let present =
        artifact_build_rule::find_by_scope(session, SCOPE_REPOSITORY, repo_id, ARTIFACT_TYPE)
            .await?;
    let exists = || {
        BuildError::refused(
            BuildErrorKind::RuleExists,
            format!("repository `{repo_id}` already has a rule for {ARTIFACT_TYPE}"),
        )
    };
    if present.is_some() {
        return Err(exists());
    }
    let rule = artifact_build_rule::BuildRule {
        rule_id: id::generate(id::BUILD_RULE),
        instance_id: instance_id.to_owned(),
        artifact_type: ARTIFACT_TYPE.to_owned(),
        scope_type: SCOPE_REPOSITORY.to_owned(),
        scope_id: repo_id.to_owned(),
        parameters: parameters.to_json(),
        created_at: now,
        modified_at: now,
    };
    match artifact_build_rule::insert(session, &rule).await {
        Ok(()) => Ok(rule.rule_id),
        Err(error) if error.kind() == DbErrorKind::Conflict => Err(exists()),
        Err(error) => Err(error.into()),
    }
}
