//! Which repositories have a blob: asked before a mount whose client names no source.

use berth_metadata::tables::blob_holder;
use berth_types::Digest;

use crate::{ArtifactError, BlobHolder, Blobs};

impl Blobs<'_> {
    /// At most `limit` repositories of the instance that have the blob, by id, after the id
    /// `after`. Not for clients: they may know of those only that they may read.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn holders(
        &self,
        instance_id: &str,
        digest: &Digest,
        after: &str,
        limit: i64,
    ) -> Result<Vec<BlobHolder>, ArtifactError> {
        let mut session = self.0.db.read().await?;
        Ok(blob_holder::list(&mut session, instance_id, digest, after, limit).await?)
    }
}
