//! Large reads that go straight to the store.

use std::time::Duration;

use berth_types::Millis;

use super::Blobs;
use crate::{ArtifactError, Blob};

/// How long the store honours an address at most: as long as a bearer token of the registry. It asks
/// when a request begins, so that a slow download may take longer.
const GOOD_FOR: Duration = Duration::from_secs(5 * 60);
/// The least for which an address is given out: clocks differ.
const LEAST: Duration = Duration::from_secs(30);

impl Blobs<'_> {
    /// Where the store itself hands out the bytes of a blob, when the operator wants that for blobs
    /// of this size. Only for an object that is as it was written: any other is for
    /// [`Blobs::read`] to look at. The address does not outlive the caller's credentials, which end
    /// at `until`; those that end in a moment get none.
    ///
    /// # Errors
    /// When the store cannot sign.
    pub async fn redirect(
        &self,
        blob: &Blob,
        until: Option<Millis>,
    ) -> Result<Option<String>, ArtifactError> {
        let size = u64::try_from(blob.size).unwrap_or(0);
        let Some(minimum) = self.0.limits.redirect_minimum else { return Ok(None) };
        let (true, Some(stamp)) = (size >= minimum, &blob.stamp) else { return Ok(None) };
        let left = until.map_or(GOOD_FOR, |until| {
            let left = until.saturating_sub(self.0.now());
            Duration::from_millis(u64::try_from(left).unwrap_or(0)).min(GOOD_FOR)
        });
        if left < LEAST {
            return Ok(None);
        }
        let Some(url) = self.0.store.url(&blob.storage_key, left).await? else {
            return Ok(None);
        };
        let stat = self.0.store.stat(&blob.storage_key).await;
        let unchanged = stat.is_ok_and(|stat| stat.size == size && stat.stamp == *stamp);
        Ok(unchanged.then(|| url.into()))
    }
}
