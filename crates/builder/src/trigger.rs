//! A push to a repository with a rule makes a build task, in the push's own transaction.

use async_trait::async_trait;
use berth_artifacts::{
    ArtifactError, Artifacts, Namespace, PushListener, Repository, TagPush, is_derived_tag,
};
use berth_metadata::tables::artifact_build_rule;
use berth_metadata::{DbError, Session};
use berth_types::Reference;

use crate::artifact_build_rule::{ARTIFACT_TYPE, SCOPE_REPOSITORY, insert_rule};
use crate::artifact_build_task::{BuildRequest, enqueue};
use crate::builder::Builder;
use crate::error::BuildError;
use crate::parameters::Parameters;
use crate::plan::{self, Gathering, NotBuildable, Plan};

#[async_trait]
impl PushListener for Builder {
    async fn tag_pushed(&self, session: &mut Session, push: &TagPush) -> Result<(), ArtifactError> {
        if push.derived_from.is_some() || is_derived_tag(push.tag.as_str()) {
            return Ok(());
        }
        let repo_id = &push.repository.repo_id;
        let rule =
            artifact_build_rule::find_by_scope(session, SCOPE_REPOSITORY, repo_id, ARTIFACT_TYPE)
                .await?;
        let Some(rule) = rule else { return Ok(()) };
        let judged = if push.view.is_index() {
            let artifacts = self.artifacts();
            survey(artifacts, session, repo_id, &push.view.media_type, &push.content)
                .await?
                .map(drop)
        } else {
            plan::check_image(&push.view)
        };
        match judged {
            // A task for what is impossible ends with the reason, where whoever waits for it looks.
            Ok(_) | Err(NotBuildable::Impossible(_)) => {}
            Err(reason @ NotBuildable::Accelerated(_)) => {
                tracing::info!(%repo_id, tag = %push.tag, digest = %push.digest, "not built: {reason}");
                return Ok(());
            }
            Err(reason) => {
                tracing::debug!(%repo_id, tag = %push.tag, %reason, "not an image: nothing to build");
                return Ok(());
            }
        }
        let request = BuildRequest {
            instance_id: &push.instance_id,
            repo_id,
            rule_id: Some(rule.rule_id),
            tag: &push.tag,
            digest: &push.digest,
            size: push.image_size,
            layer_count: push.layer_count,
            parameters: &Parameters::from_json(&rule.parameters),
        };
        enqueue(session, &request, self.config().max_attempts, self.now())
            .await
            .map(drop)
            .map_err(listener_error)
    }

    /// A namespace whose default configuration asks for it gives its repositories a rule at birth.
    async fn repository_created(
        &self,
        session: &mut Session,
        namespace: &Namespace,
        repository: &Repository,
    ) -> Result<(), ArtifactError> {
        let Some(parameters) = &namespace.build_rule_parameters else { return Ok(()) };
        let parameters = Parameters::from_json(parameters);
        insert_rule(session, &repository.instance_id, &repository.repo_id, &parameters, self.now())
            .await
            .map(drop)
            .map_err(listener_error)
    }
}

/// What a manifest of a repository leads to, read in the caller's transaction: the judgement of a push
/// and of a request for a build, without the configs and layers, which the build itself looks at.
///
/// # Errors
/// [`DbError`] when the database fails.
pub(crate) async fn survey(
    artifacts: &Artifacts,
    session: &mut Session,
    repo_id: &str,
    media_type: &str,
    content: &[u8],
) -> Result<Result<Plan, NotBuildable>, DbError> {
    let manifests = artifacts.manifests();
    let mut gathering = Gathering::of(media_type, content);
    while let Some(child) = gathering.ask() {
        let reference = Reference::Digest(child.digest.clone());
        if let Some(found) = manifests.find_in(session, repo_id, &reference).await? {
            gathering.found(&child, found.content);
        }
    }
    let manifests = match gathering.finish() {
        Ok(manifests) => manifests,
        Err(reason) => return Ok(Err(reason)),
    };
    Ok(plan::make(media_type, content, &manifests, plan::check_image))
}

fn listener_error(error: BuildError) -> ArtifactError {
    match error {
        BuildError::Database(error) => error.into(),
        BuildError::Artifact(error) => error,
        other => ArtifactError::Listener(other.to_string()),
    }
}
