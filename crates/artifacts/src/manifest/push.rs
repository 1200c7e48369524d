//! A push of a manifest: manifest, tags and what listeners make of it in one transaction.

use std::sync::Arc;

use berth_metadata::Session;
use berth_metadata::tables::{manifest, repository, tag};
use berth_tasks::TASKS_CHANNEL;
use berth_types::{Ctx, Reference, Tag};

use super::validate::{Parsed, measure, parse};
use super::{ManifestPush, Manifests, Pushed};
use crate::upload::on_its_own;
use crate::{ArtifactError, TagPush};

/// The tag that moves although a repository's tags are immutable: ACR, "Configure a repository to be
/// immutable", lets it.
const ALWAYS_MOVABLE: &str = "latest";

impl Manifests<'_> {
    /// Stores a manifest exactly as it came and points the tags to it.
    ///
    /// # Errors
    /// `ManifestInvalid`, `ManifestTooLarge`, `DigestInvalid`, `ManifestBlobUnknown`,
    /// `TagImmutable`, `RepositoryNotFound`, and what a listener fails with.
    pub async fn push(&self, ctx: &Ctx, push: ManifestPush<'_>) -> Result<Pushed, ArtifactError> {
        let ManifestPush { repository, reference, content_type, body, options } = push;
        let parsed = parse(reference, content_type, &body).await?;
        let (artifacts, ctx) = (self.0.clone(), ctx.clone());
        let (repository, reference) = (repository.clone(), reference.clone());
        on_its_own(async move {
            let manifests = artifacts.manifests();
            let mut session = artifacts.db.begin().await?;
            let (repository, reference) = (&repository, &reference);
            let push = ManifestPush { repository, reference, content_type: None, body, options };
            let pushed = manifests.store(&mut session, &ctx, push, parsed).await?;
            session.commit().await?;
            artifacts.db.notify(TASKS_CHANNEL);
            Ok(pushed)
        })
        .await
    }

    /// As [`Manifests::push`], in the caller's transaction, who notifies
    /// [`berth_tasks::TASKS_CHANNEL`] after the commit.
    ///
    /// # Errors
    /// Those of [`Manifests::push`].
    pub async fn push_in(
        &self,
        session: &mut Session,
        ctx: &Ctx,
        push: ManifestPush<'_>,
    ) -> Result<Pushed, ArtifactError> {
        let parsed = parse(push.reference, push.content_type, &push.body).await?;
        self.store(session, ctx, push, parsed).await
    }

    async fn store(
        &self,
        session: &mut Session,
        ctx: &Ctx,
        push: ManifestPush<'_>,
        parsed: Parsed,
    ) -> Result<Pushed, ArtifactError> {
        let ManifestPush { repository, reference, body, options, .. } = push;
        let Parsed { digest, view, references } = parsed;
        let view = Arc::new(view);
        let repo_id = repository.repo_id.as_str();
        // Blobs cannot leave the repository and tags cannot move while this is held.
        let repository = repository::lock(session, repo_id).await?.ok_or_else(|| {
            let name = format!("{}/{}", repository.namespace_name, repository.name);
            ArtifactError::RepositoryNotFound(name)
        })?;
        let (image_size, layer_count) = measure(session, repo_id, &view).await?;
        let row = manifest::Manifest {
            repo_id: repo_id.to_owned(),
            digest: digest.clone(),
            media_type: view.media_type.clone(),
            artifact_type: view.effective_artifact_type().map(str::to_owned),
            subject: view.subject.as_ref().map(|subject| subject.digest.clone()),
            config_digest: view.config.as_ref().map(|config| config.digest.clone()),
            content: body.to_vec(),
            image_size,
            layer_count,
            created_at: self.0.now(),
            review_after: Some(self.0.untagged_review_time(&repository)),
        };
        if !manifest::insert(session, &row, &references).await? {
            self.check_again(session, &row).await?;
        }
        let named = match reference {
            Reference::Tag(tag) => Some(tag),
            Reference::Digest(_) => None,
        };
        let mut tags: Vec<&Tag> = Vec::new();
        for tag in named.into_iter().chain(&options.extra_tags) {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        for tag in tags {
            let push = TagPush {
                instance_id: repository.instance_id.clone(),
                repository: repository.clone(),
                tag: tag.clone(),
                digest: digest.clone(),
                view: Arc::clone(&view),
                content: body.clone(),
                derived_from: options.derived_from.clone(),
                image_size,
                layer_count,
            };
            self.point(session, &push, options.override_immutable).await?;
        }
        let request = &ctx.request_id;
        tracing::info!(request, repo_id, %digest, %reference, "manifest pushed");
        Ok(Pushed {
            digest,
            subject: row.subject,
            media_type: row.media_type,
            image_size,
            layer_count,
        })
    }

    /// A manifest that is here already keeps the type under which it is served, and learns what its
    /// children measure now.
    async fn check_again(
        &self,
        session: &mut Session,
        row: &manifest::Manifest,
    ) -> Result<(), ArtifactError> {
        let stored = manifest::find_measures(session, &row.repo_id, &row.digest).await?;
        match stored {
            Some(stored) if stored.media_type != row.media_type => {
                Err(ArtifactError::ManifestInvalid(format!(
                    "{} is here already as `{}`",
                    row.digest, stored.media_type
                )))
            }
            Some(stored)
                if stored.image_size != row.image_size || stored.layer_count != row.layer_count =>
            {
                Ok(manifest::set_measures(session, row).await?)
            }
            _ => Ok(()),
        }
    }

    async fn point(
        &self,
        session: &mut Session,
        push: &TagPush,
        override_immutable: bool,
    ) -> Result<(), ArtifactError> {
        let TagPush { repository, tag: name, digest, .. } = push;
        let repo_id = &repository.repo_id;
        let fixed = repository.tag_immutability && name.as_str() != ALWAYS_MOVABLE;
        if fixed && !override_immutable {
            let current = tag::find(session, repo_id, name).await?;
            if current.is_some_and(|current| current.digest != *digest) {
                return Err(ArtifactError::TagImmutable(name.to_string()));
            }
        }
        let source = push.derived_from.as_ref().map(Tag::as_str);
        let (now, review_after) = (self.0.now(), self.0.untagged_review_time(repository));
        tag::upsert(session, repo_id, name, digest, source, now, review_after).await?;
        for listener in &self.0.listeners {
            listener.tag_pushed(session, push).await?;
        }
        Ok(())
    }
}
