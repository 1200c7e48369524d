//! Who refers to a manifest (distribution-spec, "Listing Referrers").

use std::collections::BTreeMap;

use berth_metadata::tables::referrer::{self, Referring};
use berth_oci::ManifestView;
use berth_types::Digest;

use super::Manifests;
use crate::ArtifactError;

/// Most referrers in one page.
const MOST_REFERRERS: usize = 1000;

/// Bytes of manifests that one page speaks of: their annotations are in it, and clients read no
/// more than 4 MiB of an index.
const PAGE_BYTES: i64 = 3 * 1024 * 1024;

/// A manifest that refers to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    pub digest: Digest,
    pub media_type: String,
    /// Bytes of the manifest.
    pub size: u64,
    pub artifact_type: Option<String>,
    pub annotations: BTreeMap<String, String>,
}

/// Which referrers are asked for.
#[derive(Debug, Clone, Copy)]
pub struct ReferrerFilter<'a> {
    /// Only those of this type.
    pub artifact_type: Option<&'a str>,
    /// Only those whose digests come after it.
    pub after: Option<&'a Digest>,
    /// At most so many; never more than 1000.
    pub limit: usize,
}

impl Default for ReferrerFilter<'_> {
    fn default() -> Self {
        Self { artifact_type: None, after: None, limit: MOST_REFERRERS }
    }
}

/// Some of the referrers, by digest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReferrerPage {
    pub referrers: Vec<Referrer>,
    /// Whether there are others after these.
    pub more: bool,
}

impl Manifests<'_> {
    /// The manifests of the repository that refer to `subject`, whether that is here or not. A page
    /// holds no more of them than an index of 4 MiB describes, but one at least.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn referrers(
        &self,
        repo_id: &str,
        subject: &Digest,
        filter: ReferrerFilter<'_>,
    ) -> Result<ReferrerPage, ArtifactError> {
        let ReferrerFilter { artifact_type, after, limit } = filter;
        let limit = limit.clamp(1, MOST_REFERRERS);
        let referring = Referring { repo_id, subject, artifact_type, after };
        let mut session = self.0.db.read().await?;
        let one_more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let sizes = referrer::sizes(&mut session, referring, one_more).await?;
        let room = sizes
            .iter()
            .scan(0i64, |sum, (_, bytes)| {
                *sum = sum.saturating_add(*bytes);
                Some(*sum)
            })
            .take_while(|sum| *sum <= PAGE_BYTES)
            .count();
        let count = room.max(1).min(limit);
        let Some((last, _)) = sizes.get(..count).and_then(<[_]>::last).or(sizes.last()) else {
            return Ok(ReferrerPage::default());
        };
        let rows = referrer::until(&mut session, referring, last).await?;
        drop(session);
        let referrers = rows.into_iter().map(described).collect();
        Ok(ReferrerPage { referrers, more: sizes.len() > count })
    }
}

fn described(row: referrer::Referrer) -> Referrer {
    let view = ManifestView::parse(Some(&row.media_type), &row.content).ok();
    Referrer {
        digest: row.digest,
        media_type: row.media_type,
        size: row.content.len() as u64,
        artifact_type: row.artifact_type,
        annotations: view.map(|view| view.annotations).unwrap_or_default(),
    }
}
