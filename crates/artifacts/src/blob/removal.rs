//! The end of objects whose rows are gone.

use berth_metadata::tables::{blob, gc, object_removal};
use berth_types::Digest;

use super::Blobs;
use crate::ArtifactError;

impl Blobs<'_> {
    /// Takes back a blob that the caller stored and that nothing came to use: no repository, and no
    /// converted layer.
    ///
    /// # Errors
    /// When database or store fail.
    pub async fn discard(&self, digest: &Digest) -> Result<(), ArtifactError> {
        let mut session = self.0.db.begin().await?;
        let Some(found) = blob::lock(&mut session, digest).await? else { return Ok(()) };
        if gc::is_linked_anywhere(&mut session, digest).await?
            || gc::layer_used_at(&mut session, digest).await?.is_some()
        {
            return Ok(());
        }
        object_removal::insert(&mut session, &found.storage_key, self.0.now()).await?;
        blob::delete(&mut session, digest).await?;
        session.commit().await?;
        self.remove_objects(&[found.storage_key]).await
    }

    /// Removes objects whose rows went in a transaction that noted their removal.
    ///
    /// # Errors
    /// When database or store fail.
    pub async fn remove_objects(&self, keys: &[String]) -> Result<(), ArtifactError> {
        for key in keys {
            self.0.store.delete(key).await?;
        }
        self.forget_removals(keys).await
    }

    /// Forgets removals that are done.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_removals(&self, keys: &[String]) -> Result<(), ArtifactError> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut session = self.0.db.begin().await?;
        for key in keys {
            object_removal::delete(&mut session, key).await?;
        }
        Ok(session.commit().await?)
    }
}
