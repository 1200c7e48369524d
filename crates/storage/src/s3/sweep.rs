//! What crashes leave: tails that nothing names, and multipart uploads that nobody finishes.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use object_store::ObjectStore as _;
use object_store::path::Path;

use super::Bucket;
use super::parts::Upload;
use crate::{StorageError, key};

/// The tails of one multipart upload, or of a partial object that has none yet.
#[derive(Default)]
struct Group {
    tails: Vec<Path>,
    /// When any of it was last written.
    touched: Option<DateTime<Utc>>,
}

/// Removes what nobody has touched for `older_than`; how many pieces. A tail is as young as the
/// youngest of its group, and a multipart upload as young as its youngest part or tail.
pub(super) async fn sweep(bucket: &Bucket, older_than: Duration) -> Result<u64, StorageError> {
    let is_old = |touched: Option<DateTime<Utc>>| {
        touched.is_none_or(|touched| {
            SystemTime::from(touched).elapsed().unwrap_or_default() >= older_than
        })
    };
    let mut groups = tails(bucket).await?;
    let mut removed = 0;
    let folder = format!("{}/", bucket.objects());
    for found in bucket.multipart_uploads(&folder).await? {
        let Some(key) = found.key.strip_prefix(&folder).filter(|key| key::is_key(key)) else {
            continue;
        };
        let group = groups.entry(key.to_owned()).or_default();
        group.touched = group.touched.max(Some(found.initiated));
        if !is_old(group.touched) {
            continue;
        }
        let upload = Upload { key: key.to_owned(), id: found.id };
        group.touched = group.touched.max(bucket.last_part(&upload).await?);
        if is_old(group.touched) {
            bucket.abort(&upload).await?;
            removed += 1;
        }
    }
    for group in groups.into_values().filter(|group| is_old(group.touched)) {
        for tail in &group.tails {
            bucket.remove(tail).await?;
            removed += 1;
        }
    }
    Ok(removed)
}

async fn tails(bucket: &Bucket) -> Result<HashMap<String, Group>, StorageError> {
    let mut groups: HashMap<String, Group> = HashMap::new();
    let folder = bucket.tails();
    let mut listed = bucket.s3.list(Some(&folder));
    while let Some(tail) = listed.next().await {
        let tail = tail.map_err(|error| StorageError::remote("list tails", error))?;
        let Some(mut names) = tail.location.prefix_match(&folder) else { continue };
        let Some(group) = names.next() else { continue };
        let group = groups.entry(group.as_ref().to_owned()).or_default();
        drop(names);
        group.touched = group.touched.max(Some(tail.last_modified));
        group.tails.push(tail.location);
    }
    Ok(groups)
}
