//! Whether the collector's books are in order: for operators who doubt, and for tests.

use std::collections::HashSet;

use berth_artifacts::ArtifactError;
use berth_metadata::Session;
use berth_metadata::tables::gc_audit::{self as books, Missing};
use berth_metadata::tables::{blob, manifest, object_removal};
use berth_oci::ManifestView;
use futures::TryStreamExt as _;

use super::Gc;
use crate::Maintenance;

/// Rows per query.
const PAGE: i64 = 500;
/// Findings of one kind that are told.
const TOLD: usize = 100;

/// What is not in order; nothing, unless something went wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GcAudit {
    /// Blobs, links and manifests that nothing uses and that no collection will ever look at.
    pub forgotten: Vec<String>,
    /// Blobs that a manifest names and its repository has not.
    pub missing_blobs: Vec<String>,
    /// Blobs whose object the store has not.
    pub missing_objects: Vec<String>,
    /// Objects of no blob. Such of requests that run or died are collected after the grace.
    pub stray_objects: Vec<String>,
}

impl GcAudit {
    /// Whether everything is there that should be, and nothing is forgotten.
    pub fn is_sound(&self) -> bool {
        self.forgotten.is_empty()
            && self.missing_blobs.is_empty()
            && self.missing_objects.is_empty()
    }
}

impl Gc<'_> {
    /// Looks for what is not in order; of each kind at most a hundred findings. Changes nothing.
    ///
    /// # Errors
    /// When database or store fail.
    pub async fn audit(&self) -> Result<GcAudit, ArtifactError> {
        let mut audit = GcAudit::default();
        let mut session = self.0.db.read().await?;
        let limit = i64::try_from(TOLD).unwrap_or(PAGE);
        audit.forgotten = books::forgotten(&mut session, limit).await?;
        audit.missing_blobs = missing_blobs(&mut session).await?;
        drop(session);
        self.audit_objects(&mut audit).await?;
        Ok(audit)
    }

    async fn audit_objects(&self, audit: &mut GcAudit) -> Result<(), ArtifactError> {
        let Maintenance { db, store, .. } = self.0;
        let mut keys = HashSet::new();
        let mut objects = store.list().await?;
        while let Some(object) = objects.try_next().await? {
            let mut session = db.read().await?;
            if !blob::is_key_used(&mut session, &object.key).await?
                && !object_removal::exists(&mut session, &object.key).await?
                && audit.stray_objects.len() < TOLD
            {
                audit.stray_objects.push(object.key.clone());
            }
            keys.insert(object.key);
        }
        let mut after = String::new();
        loop {
            let mut session = db.read().await?;
            let page = books::storage_keys(&mut session, &after, PAGE).await?;
            drop(session);
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(last);
            for key in page {
                // The list may be older than the row, and the row older than a removal.
                if keys.contains(&key) || store.stat(&key).await.is_ok() {
                    continue;
                }
                let mut session = db.read().await?;
                let used = blob::is_key_used(&mut session, &key).await?;
                if used && audit.missing_objects.len() < TOLD {
                    audit.missing_objects.push(key);
                }
            }
        }
    }
}

/// Named blobs that are not here, without layers that may be elsewhere.
async fn missing_blobs(session: &mut Session) -> Result<Vec<String>, ArtifactError> {
    let mut found = Vec::new();
    let mut after: Option<Missing> = None;
    while found.len() < TOLD {
        let page = books::missing_blobs(session, after.as_ref(), PAGE).await?;
        if page.is_empty() {
            break;
        }
        for missing in &page {
            let row = manifest::find(session, &missing.repo_id, &missing.manifest).await?;
            let Some(row) = row else { continue };
            let view = ManifestView::parse(Some(&row.media_type), &row.content)?;
            let elsewhere = view
                .layers
                .iter()
                .filter(|layer| layer.digest == missing.blob)
                .any(berth_oci::Descriptor::is_foreign_layer);
            if !elsewhere {
                let Missing { repo_id, manifest, blob } = missing;
                found.push(format!("{blob}, which manifest {manifest} of {repo_id} names"));
            }
        }
        after = page.into_iter().next_back();
    }
    found.truncate(TOLD);
    Ok(found)
}
