//! Whether the bytes of a blob are still those of its digest.
//!
//! What is read is compared with the stamp that the object had when it was written, which the store
//! does at no cost. An object that is missing, shorter or has another stamp is suspect: its blob is
//! read whole and hashed before anything of it is answered. When it is whole, its new stamp is kept;
//! when it is not, the blob goes into quarantine: it is not there for any reader, until other bytes
//! replace it. The damaged object stays for whoever wants to look at it until then.

mod repair;
mod throttle;

use std::fmt::Display;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use berth_metadata::tables::{blob, scrub};
use berth_storage::{ByteStream, FileRange, ObjectStat, StorageError, StorageErrorKind};
use berth_types::Hasher;
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::Semaphore;

pub use self::repair::{BlobSource, RefetchError, Repair};
pub use self::throttle::Throttle;
use crate::locks::Locks;
use crate::upload::on_its_own;
use crate::{ArtifactError, Artifacts, Blob};

/// Suspect blobs that are hashed at the same time, so that readers of a store that was restored
/// without its times leave something for everybody else.
const AT_A_TIME: usize = 2;

/// Bytes hashed in one go, away from the threads that serve requests.
const BATCH: usize = 2 << 20;

/// How long a reader waits for the one who hashes the blob that it wants.
const PATIENCE: Duration = Duration::from_secs(600);

/// How often an object may change while it is looked at.
const LOOKS: usize = 3;

/// What keeps two readers from hashing one blob at the same time.
pub(crate) struct Examinations {
    locks: Locks,
    slots: Semaphore,
}

impl Default for Examinations {
    fn default() -> Self {
        Self { locks: Locks::default(), slots: Semaphore::new(AT_A_TIME) }
    }
}

/// What a blob's object turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    Whole(ObjectStat),
    /// With the reason in words.
    Damaged(String),
}

/// Whether blobs are what they are called, and how they become so again.
pub struct Integrity<'a>(pub(crate) &'a Artifacts);

impl Integrity<'_> {
    /// Reads and hashes a blob's object, no faster than the throttle lets it.
    ///
    /// # Errors
    /// When the store or the database cannot be used: that says nothing about the blob.
    pub async fn hash(
        &self,
        blob: &Blob,
        throttle: &mut Throttle,
    ) -> Result<Finding, ArtifactError> {
        hash(self.0, blob, throttle).await
    }

    /// Writes down what was found of a blob; `false` when it was so already, or the blob has other
    /// bytes by now or is gone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle(&self, blob: &Blob, finding: &Finding) -> Result<bool, ArtifactError> {
        settle(self.0, blob, finding).await
    }

    /// The repair of a damaged blob, from where repositories of one instance or of all have it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn repair(
        &self,
        instance_id: Option<&str>,
        blob: Blob,
    ) -> Result<Repair, ArtifactError> {
        Repair::of(self.0, instance_id, blob).await
    }

    /// Whether the store still has the bytes that the row speaks of, as far as can be told without
    /// reading them.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn is_whole(&self, blob: &Blob) -> Result<bool, ArtifactError> {
        if blob.damaged_at.is_some() {
            return Ok(false);
        }
        match self.0.store.stat(&blob.storage_key).await {
            Ok(stat) => Ok(i64::try_from(stat.size) == Ok(blob.size)
                && blob.stamp.as_ref().is_none_or(|stamp| *stamp == stat.stamp)),
            Err(error) if error.kind() == StorageErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// The bytes of a range of a blob, when they are whole as far as can be told without reading all.
pub(crate) async fn read(
    artifacts: &Artifacts,
    blob: &Blob,
    range: Range<u64>,
) -> Result<ByteStream, ArtifactError> {
    let Some(stamp) = &blob.stamp else { return read_unstamped(artifacts, blob, range).await };
    match artifacts.store.read(&blob.storage_key, range.clone(), Some(stamp)).await {
        Err(error) if is_suspect(&error) => look_again(artifacts, blob, range, &error).await,
        answered => Ok(answered?),
    }
}

/// A row of before there were stamps takes the one that its object has now.
async fn read_unstamped(
    artifacts: &Artifacts,
    blob: &Blob,
    range: Range<u64>,
) -> Result<ByteStream, ArtifactError> {
    let stat = match artifacts.store.stat(&blob.storage_key).await {
        Err(error) if is_suspect(&error) => {
            return look_again(artifacts, blob, range, &error).await;
        }
        answered => answered?,
    };
    if i64::try_from(stat.size) != Ok(blob.size) {
        let error = format!("the object has {} bytes", stat.size);
        return look_again(artifacts, blob, range, &error).await;
    }
    let mut session = artifacts.db.begin().await?;
    scrub::set_stamp(&mut session, &blob.digest, &blob.storage_key, &stat.stamp).await?;
    session.commit().await?;
    Ok(artifacts.store.read(&blob.storage_key, range, Some(&stat.stamp)).await?)
}

/// Whether the error says something about the object, not about the way to it.
fn is_suspect(error: &StorageError) -> bool {
    matches!(
        error.kind(),
        StorageErrorKind::NotFound
            | StorageErrorKind::Changed
            | StorageErrorKind::Range
            | StorageErrorKind::Corrupt
    )
}

/// Reads once it is known whether the blob is whole.
async fn look_again(
    artifacts: &Artifacts,
    blob: &Blob,
    range: Range<u64>,
    reason: &impl Display,
) -> Result<ByteStream, ArtifactError> {
    let digest = &blob.digest;
    tracing::warn!(%digest, key = blob.storage_key, %reason, "a blob's object is suspect");
    let mut suspect = blob.clone();
    for _ in 0..LOOKS {
        let Some(settled) = examine(artifacts, suspect).await? else {
            return Err(ArtifactError::BlobUnknown(digest.clone()));
        };
        let stamp = settled.stamp.as_deref();
        match artifacts.store.read(&settled.storage_key, range.clone(), stamp).await {
            Err(error) if is_suspect(&error) => suspect = settled,
            answered => return Ok(answered?),
        }
    }
    Err(ArtifactError::Internal(format!("blob {digest} changes while it is looked at")))
}

/// Hashes a suspect blob, unless somebody settled it meanwhile, and writes down what it found. The
/// blob as it is now; `None` when it is damaged or gone. Goes on when the caller is dropped.
async fn examine(artifacts: &Artifacts, suspect: Blob) -> Result<Option<Blob>, ArtifactError> {
    let artifacts = artifacts.clone();
    on_its_own(async move {
        let examinations = Arc::clone(&artifacts.examinations);
        let _alone = examinations.locks.take(suspect.digest.as_str(), PATIENCE).await;
        let _slot = examinations.slots.acquire().await;
        let mut session = artifacts.db.read().await?;
        let found = blob::find(&mut session, &suspect.digest).await?;
        drop(session);
        let Some(mut now) = found.filter(|now| now.damaged_at.is_none()) else { return Ok(None) };
        if now.storage_key != suspect.storage_key || now.stamp != suspect.stamp {
            return Ok(Some(now));
        }
        let finding = hash(&artifacts, &now, &mut Throttle::open()).await?;
        settle(&artifacts, &now, &finding).await?;
        Ok(match finding {
            Finding::Whole(stat) => {
                now.stamp = Some(stat.stamp);
                Some(now)
            }
            Finding::Damaged(_) => None,
        })
    })
    .await
}

/// Reads and hashes a blob's object.
///
/// # Errors
/// When the store or the database cannot be used: that says nothing about the blob.
async fn hash(
    artifacts: &Artifacts,
    blob: &Blob,
    throttle: &mut Throttle,
) -> Result<Finding, ArtifactError> {
    for _ in 0..LOOKS {
        match hash_once(artifacts, blob, throttle).await {
            Err(Unread::Suspect(error)) if error.kind() == StorageErrorKind::Changed => {}
            Err(Unread::Suspect(error)) => {
                if error.kind() == StorageErrorKind::NotFound {
                    answers(artifacts).await?;
                }
                return Ok(Finding::Damaged(error.to_string()));
            }
            Err(Unread::Failed(error)) => return Err(error),
            Ok(finding) => return Ok(finding),
        }
    }
    Ok(Finding::Damaged("somebody keeps writing to the object".to_owned()))
}

/// Makes sure that the store is there at all, before an object is called missing.
async fn answers(artifacts: &Artifacts) -> Result<(), ArtifactError> {
    artifacts.store.ping().await?;
    artifacts.store.list().await?.next().await.transpose()?;
    Ok(())
}

enum Unread {
    Suspect(StorageError),
    Failed(ArtifactError),
}

impl From<StorageError> for Unread {
    fn from(error: StorageError) -> Self {
        if is_suspect(&error) { Self::Suspect(error) } else { Self::Failed(error.into()) }
    }
}

async fn hash_once(
    artifacts: &Artifacts,
    blob: &Blob,
    throttle: &mut Throttle,
) -> Result<Finding, Unread> {
    // Of before the reading: what is written from here on makes another stamp.
    let stat = artifacts.store.stat(&blob.storage_key).await?;
    if i64::try_from(stat.size) != Ok(blob.size) {
        let reason = format!("the object has {} bytes, expected {}", stat.size, blob.size);
        return Ok(Finding::Damaged(reason));
    }
    let stamp = Some(stat.stamp.as_str());
    let mut stream = artifacts.store.read(&blob.storage_key, 0..stat.size, stamp).await?;
    // What the kernel keeps in memory says nothing about the disk, and is not to make way for this.
    let part = stream.file().cloned();
    forget(part.as_ref()).await.map_err(Unread::Failed)?;
    let mut hasher = Hasher::new(blob.digest.algorithm());
    let mut batch: Vec<Bytes> = Vec::new();
    let mut len = 0;
    loop {
        let piece = stream.next().await.transpose()?;
        let at_end = piece.is_none();
        if let Some(piece) = piece {
            len += piece.len();
            batch.push(piece);
        }
        if len >= BATCH || (at_end && len > 0) {
            hasher = update(hasher, std::mem::take(&mut batch)).await.map_err(Unread::Failed)?;
            throttle.pass(std::mem::take(&mut len) as u64).await;
        }
        if at_end {
            break;
        }
    }
    forget(part.as_ref()).await.map_err(Unread::Failed)?;
    let actual = hasher.finish();
    Ok(if actual == blob.digest {
        Finding::Whole(stat)
    } else {
        Finding::Damaged(format!("its bytes have the digest {actual}"))
    })
}

async fn forget(part: Option<&FileRange>) -> Result<(), ArtifactError> {
    let Some(part) = part.cloned() else { return Ok(()) };
    let work = tokio::task::spawn_blocking(move || part.forget());
    work.await.map_err(|error| ArtifactError::Internal(error.to_string()))
}

async fn update(mut hasher: Hasher, batch: Vec<Bytes>) -> Result<Hasher, ArtifactError> {
    let work = tokio::task::spawn_blocking(move || {
        batch.iter().for_each(|piece| hasher.update(piece));
        hasher
    });
    work.await.map_err(|error| ArtifactError::Internal(error.to_string()))
}

/// Writes down what was found of a blob; `false` when it was so already, or the blob has other bytes
/// by now or is gone.
async fn settle(
    artifacts: &Artifacts,
    blob: &Blob,
    finding: &Finding,
) -> Result<bool, ArtifactError> {
    let (digest, key, now) = (&blob.digest, blob.storage_key.as_str(), artifacts.now());
    let mut session = artifacts.db.begin().await?;
    let changed = match finding {
        Finding::Whole(stat) => {
            scrub::set_whole(&mut session, digest, key, &stat.stamp, now).await?
        }
        Finding::Damaged(_) => scrub::set_damaged(&mut session, digest, key, now).await?,
    };
    session.commit().await?;
    if changed && let Finding::Damaged(reason) = finding {
        tracing::error!(
            %digest, key, reason,
            "a blob is damaged: it is in quarantine until its bytes are pushed or fetched again"
        );
        metrics::counter!("berth_blobs_found_damaged_total").increment(1);
    }
    Ok(changed)
}
