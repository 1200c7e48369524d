//! Asks the source for its tags, selects, and records the selection.

use std::collections::{HashMap, HashSet};

use berth_metadata::tables::artifact_subscription_result::{self, SubscriptionResult};
use berth_metadata::tables::artifact_subscription_task;
use berth_oci::client::{ClientError, ClientErrorKind};
use berth_oci::{ConfigView, Descriptor, MAX_CONFIG_BYTES, ManifestView, media_type};
use berth_tasks::TaskFailure;
use berth_types::{Digest, Millis, Reference, Tag};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::copy::CopyRun;
use crate::referrer::is_referrer_tag;
use crate::select;

/// Tags whose dates are asked for at the same time.
const DATES_AT_ONCE: usize = 8;

/// What a run copies.
pub(crate) struct Plan {
    pub(crate) rows: Vec<SubscriptionResult>,
    /// Digests at the source that were seen while dates were looked up.
    pub(crate) digests: HashMap<Tag, Digest>,
    /// Tags of signatures and other referrers at the source, when its tags were listed.
    pub(crate) listing: Option<HashSet<String>>,
}

/// When an image was made, and what its tag pointed to.
struct Dated {
    tag: Tag,
    digest: Option<Digest>,
    created: Option<Millis>,
}

/// Selects and records; the rows are PENDING then.
///
/// # Errors
/// `Transient` when the source cannot be asked now, `Permanent` when it never can.
pub(crate) async fn make(run: &CopyRun) -> Result<Plan, TaskFailure> {
    if let Some(tag) = run.pattern.exact() {
        return exact(run, tag).await;
    }
    run.task.log(format!("listing the tags of {}", run.source)).await;
    let listed = run.client.tags(&run.source_repository).await;
    let listed = listed.map_err(|error| failure(run, &error))?;
    let candidates = select::candidates(&listed, &run.pattern, run.rule.referrers);
    let matching = candidates.len();
    let count = usize::try_from(run.rule.tag_count).unwrap_or(usize::MAX);
    let dated = if select::needs_dates(&candidates, count) {
        dates(run, candidates.clone()).await?
    } else {
        Vec::new()
    };
    let created: HashMap<Tag, Millis> =
        dated.iter().filter_map(|one| Some((one.tag.clone(), one.created?))).collect();
    let tags = select::newest(candidates, count, &created);
    let names: Vec<&str> = tags.iter().map(Tag::as_str).collect();
    run.task
        .log(format!(
            "{} tags at the source, {matching} match, {} selected: {}",
            listed.len(),
            tags.len(),
            names.join(", ")
        ))
        .await;
    let rows = record(run, Some(listed.len()), &tags).await?;
    let digests = dated.into_iter().filter_map(|one| Some((one.tag, one.digest?))).collect();
    let listing = Some(listed.into_iter().filter(|name| is_referrer_tag(name)).collect());
    Ok(Plan { rows, digests, listing })
}

/// A rule that names one tag takes it, without a look at all the others: whether it is there, the
/// copy finds out.
async fn exact(run: &CopyRun, tag: &str) -> Result<Plan, TaskFailure> {
    let named = [tag.to_owned()];
    let tags = select::candidates(&named, &run.pattern, false);
    run.task.log(format!("taking the tag {tag} of {}", run.source)).await;
    let rows = record(run, None, &tags).await?;
    Ok(Plan { rows, digests: HashMap::new(), listing: None })
}

/// Counts and rows in one fenced transaction.
async fn record(
    run: &CopyRun,
    listed: Option<usize>,
    tags: &[Tag],
) -> Result<Vec<SubscriptionResult>, TaskFailure> {
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let task_id = run.task.id();
    let mut session = run.task.fenced().await?;
    let selected = number(tags.len());
    let listed = listed.map(number);
    artifact_subscription_task::set_counts(&mut session, task_id, listed, selected).await?;
    for (position, tag) in tags.iter().enumerate() {
        artifact_subscription_result::insert(&mut session, task_id, tag, number(position)).await?;
    }
    let rows = artifact_subscription_result::all(&mut session, task_id).await?;
    session.commit().await?;
    Ok(rows)
}

async fn dates(run: &CopyRun, tags: Vec<Tag>) -> Result<Vec<Dated>, TaskFailure> {
    let most = run.subscription.config().limits.dated_tags;
    if tags.len() > most {
        return Err(TaskFailure::Permanent(format!(
            "TagRegexp matches {} tags that are not all semantic versions; at most {most} can be \
             ordered by creation time (subscription.max_dated_tags)",
            tags.len()
        )));
    }
    run.task.log(format!("ordering {} tags by creation time", tags.len())).await;
    stream::iter(tags)
        .map(|tag| dated(run, tag))
        .buffer_unordered(DATES_AT_ONCE)
        .try_collect()
        .await
}

/// A tag whose image cannot be read counts as the oldest; a source that cannot be reached, or must
/// not be, ends the attempt.
async fn dated(run: &CopyRun, tag: Tag) -> Result<Dated, TaskFailure> {
    let mut digest = None;
    match created(run, &tag, &mut digest).await {
        Ok(created) => Ok(Dated { tag, digest, created }),
        Err(error) => match error.kind() {
            ClientErrorKind::NotFound | ClientErrorKind::Invalid => {
                run.task.log(format!("{tag}: creation time is unknown: {error}")).await;
                Ok(Dated { tag, digest: None, created: None })
            }
            _ => Err(failure(run, &error)),
        },
    }
}

async fn created(
    run: &CopyRun,
    tag: &Tag,
    digest: &mut Option<Digest>,
) -> Result<Option<Millis>, ClientError> {
    let reference = Reference::Tag(tag.clone());
    *digest = run.client.head_manifest(&run.source_repository, &reference).await?.digest;
    if let Some(created) = digest.as_ref().and_then(|known| run.subscription.known_date(known)) {
        return Ok(created);
    }
    // By tag: what a HEAD names is not always there under that name.
    let manifest = run.client.manifest(&run.source_repository, &reference).await?;
    *digest = Some(manifest.digest.clone());
    let view = first_image(run, manifest.view).await?;
    let image = view.filter(|view| view.image_config_type().is_some());
    let created = match image.and_then(|view| view.config) {
        Some(descriptor) => config(run, &descriptor).await?.and_then(|config| config.created),
        None => None,
    };
    run.subscription.remember_date(manifest.digest, created);
    Ok(created)
}

/// An index is as old as the first image in it.
async fn first_image(
    run: &CopyRun,
    view: ManifestView,
) -> Result<Option<ManifestView>, ClientError> {
    if !view.is_index() {
        return Ok(Some(view));
    }
    let image = |child: &&Descriptor| {
        media_type::is_image_manifest(&child.media_type) && child.attestation_of().is_none()
    };
    let Some(child) = view.manifests.iter().find(image) else { return Ok(None) };
    let reference = Reference::Digest(child.digest.clone());
    let child = run.client.manifest(&run.source_repository, &reference).await?;
    Ok((!child.view.is_index()).then_some(child.view))
}

/// An image's config; `None` when it is too large, or not what its digest says.
pub(crate) async fn config(
    run: &CopyRun,
    config: &Descriptor,
) -> Result<Option<ConfigView>, ClientError> {
    if config.size > MAX_CONFIG_BYTES as u64 {
        return Ok(None);
    }
    let stream = run.client.blob(&run.source_repository, config).await?;
    let chunks: Vec<bytes::Bytes> = stream.try_collect().await?;
    let bytes = chunks.concat();
    if Digest::of(config.digest.algorithm(), &bytes) != config.digest {
        return Ok(None);
    }
    Ok(ConfigView::parse(&bytes).ok())
}

fn failure(run: &CopyRun, error: &ClientError) -> TaskFailure {
    if let Some(until) = error.retry_at() {
        run.subscription.postponed(until, &error.to_string())
    } else if error.is_transient() {
        TaskFailure::Transient(error.to_string())
    } else {
        TaskFailure::Permanent(error.to_string())
    }
}
