//! Tags: `ListRepoTag`, `GetRepoTag`, `DeleteRepoTag`.
//!
//! Digests are bare hexadecimal here, without `sha256:`; an image's id is the digest of its config.

use async_trait::async_trait;
use berth_artifacts::TagInfo;
use berth_types::{Millis, Tag};

use super::Done;
use crate::codes;
use crate::control::Control;
use crate::error::ApiError;
use crate::operation::{Action, Call};
use crate::paging::TokenPage;
use crate::schema::{request, response};

request! { ListRepoTag {
    /// The instance.
    _instance_id: String = Acr "InstanceId",
    /// Tags per page when walking by token, at most 100; wins over PageSize.
    max_results: Option<i64> = Acr "MaxResults",
    /// The `NextToken` of the page before.
    next_token: Option<String> = Acr "NextToken",
    /// The page, from 1.
    page_no: Option<i64> = Acr "PageNo",
    /// Tags per page, 30 when left out, at most 100.
    page_size: Option<i64> = Acr "PageSize",
    /// The repository.
    _repo_id: String = Acr "RepoId",
} }

response! { TagList {
    /// The tags of the page.
    images: Vec<TagRow> = Acr "Images",
    /// Tags per page, when walking by token.
    max_results: Option<i64> = Acr "MaxResults",
    /// The token of the next page, when walking by token and there is one.
    next_token: Option<String> = Acr "NextToken",
    /// The page.
    page_no: i64 = Acr "PageNo",
    /// Tags per page.
    page_size: i64 = Acr "PageSize",
    /// How many there are on all pages, as text.
    total_count: String = Acr "TotalCount",
} }

response! {
    /// A tag as a row; its times are texts here.
    TagRow {
        /// The manifest's digest, bare hexadecimal.
        digest: String = Acr "Digest",
        /// When the tag was made: milliseconds since the epoch, as text.
        image_create: String = Acr "ImageCreate",
        /// The config's digest, bare hexadecimal; of an index, its own.
        image_id: String = Acr "ImageId",
        /// Bytes of config and layers.
        image_size: i64 = Acr "ImageSize",
        /// When the tag was moved last: milliseconds since the epoch, as text.
        image_update: String = Acr "ImageUpdate",
        /// `NORMAL`.
        status: &'static str = Acr "Status",
        /// The tag.
        tag: String = Acr "Tag",
    }
}

#[async_trait]
impl Action for ListRepoTag {
    type Response = TagList;

    async fn run(self, control: &Control, call: &Call) -> Result<TagList, ApiError> {
        let walk = TokenPage::new(
            self.page_no,
            self.page_size,
            self.max_results,
            self.next_token.as_deref(),
        )?;
        let repo_id = &call.target.repository()?.repo_id;
        let tags = control.artifacts().tags();
        let (mut rows, total) = if walk.is_by_token() {
            let after = walk.after().map(read_key).transpose()?;
            tags.page_after(repo_id, after, walk.one_more()).await?
        } else {
            tags.page(repo_id, walk.page).await?
        };
        let next_token = walk.cut(&mut rows, |row| format!("{}.{}", row.updated, row.tag));
        Ok(TagList {
            images: rows.iter().map(row).collect(),
            max_results: walk.max_results(),
            next_token,
            page_no: walk.page.number,
            page_size: walk.page.size,
            total_count: total.to_string(),
        })
    }
}

/// When a tag was moved last, and its name.
fn read_key(key: &str) -> Result<(Millis, &str), ApiError> {
    let (moved, name) = key.split_once('.').ok_or_else(TokenPage::not_given)?;
    Ok((moved.parse().map_err(|_| TokenPage::not_given())?, name))
}

fn row(info: &TagInfo) -> TagRow {
    let answer = answer(info);
    TagRow {
        digest: answer.digest,
        image_create: answer.image_create.to_string(),
        image_id: answer.image_id,
        image_size: answer.image_size,
        image_update: answer.image_update.to_string(),
        status: answer.status,
        tag: answer.tag,
    }
}

request! { GetRepoTag {
    /// The instance.
    _instance_id: String = Acr "InstanceId",
    /// The repository.
    _repo_id: String = Acr "RepoId",
    /// The tag.
    tag: String = Acr "Tag",
} }

response! { TagAnswer {
    /// The manifest's digest, bare hexadecimal.
    digest: String = Acr "Digest",
    /// When the tag was made: milliseconds since the epoch.
    image_create: i64 = Acr "ImageCreate",
    /// The config's digest, bare hexadecimal; of an index, its own.
    image_id: String = Acr "ImageId",
    /// Bytes of config and layers.
    image_size: i64 = Acr "ImageSize",
    /// When the tag was moved last: milliseconds since the epoch.
    image_update: i64 = Acr "ImageUpdate",
    /// `NORMAL`.
    status: &'static str = Acr "Status",
    /// The tag.
    tag: String = Acr "Tag",
} }

fn answer(info: &TagInfo) -> TagAnswer {
    TagAnswer {
        digest: info.digest.hex().to_owned(),
        image_create: info.created,
        image_id: info.image_id.hex().to_owned(),
        image_size: info.size,
        image_update: info.updated,
        status: "NORMAL",
        tag: info.tag.to_string(),
    }
}

#[async_trait]
impl Action for GetRepoTag {
    type Response = TagAnswer;

    async fn run(self, control: &Control, call: &Call) -> Result<TagAnswer, ApiError> {
        let tag = existing(&self.tag)?;
        let repo_id = &call.target.repository()?.repo_id;
        Ok(answer(&control.artifacts().tags().get(repo_id, &tag).await?))
    }
}

request! { DeleteRepoTag {
    /// The instance.
    _instance_id: String = Acr "InstanceId",
    /// The repository.
    _repo_id: String = Acr "RepoId",
    /// The tag.
    tag: String = Acr "Tag",
} }

#[async_trait]
impl Action for DeleteRepoTag {
    type Response = Done;

    async fn run(self, control: &Control, call: &Call) -> Result<Done, ApiError> {
        let tag = existing(&self.tag)?;
        control.artifacts().tags().delete(&call.ctx, call.target.repository()?, &tag).await?;
        Ok(Done {})
    }
}

/// A name that no tag can have is that of a tag that does not exist.
fn existing(name: &str) -> Result<Tag, ApiError> {
    name.parse().map_err(|_| {
        ApiError::new(codes::REPO_TAG_NOT_EXIST, format!("Tag `{name}` does not exist."))
    })
}
