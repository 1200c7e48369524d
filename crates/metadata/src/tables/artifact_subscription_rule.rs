//! Rows of `subscription_rule`: which tags of which upstream repository are copied where.

use berth_types::Millis;

use super::list_count::{self, List};
use crate::page::page_keys;
use crate::{DbError, Page, Row, Session, args};

/// A subscription rule as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionRule {
    pub rule_id: String,
    pub instance_id: String,
    /// The target.
    pub namespace_name: String,
    pub repo_name: String,
    pub source_provider: String,
    pub source_domain: String,
    pub source_namespace_name: String,
    pub source_repo_name: String,
    /// JSON array of `os/architecture`.
    pub platforms: String,
    pub tag_regexp: String,
    pub tag_count: i64,
    pub override_tags: bool,
    pub accelerate: bool,
    /// `KEEP` or `REWRITE`.
    pub index_mode: String,
    /// Whether what refers to an image comes along.
    pub referrers: bool,
    pub created_at: Millis,
    pub modified_at: Millis,
}

macro_rules! page {
    ($order:literal) => {
        concat!(
            page_keys!("rule_id", "subscription_rule", "instance_id = $1", $order),
            "SELECT r.* FROM page p CROSS JOIN subscription_rule r WHERE r.rule_id = p.rule_id \
             ORDER BY r.created_at DESC, r.rule_id DESC"
        )
    };
}

const INSERT: &str = "INSERT INTO subscription_rule (rule_id, instance_id, namespace_name, \
    repo_name, source_provider, source_domain, source_namespace_name, source_repo_name, \
    platforms, tag_regexp, tag_count, override_tags, accelerate, created_at, modified_at, \
    index_mode, referrers) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";
const FIND: &str = "SELECT * FROM subscription_rule WHERE instance_id = $1 AND rule_id = $2";
const FIND_BY_ID: &str = "SELECT * FROM subscription_rule WHERE rule_id = $1";
const LIST: &str = page!("created_at DESC, rule_id DESC");
const LIST_FROM_END: &str = page!("created_at, rule_id");
const OF_TARGET: &str = "SELECT * FROM subscription_rule WHERE instance_id = $1 \
    AND namespace_name = $2 AND repo_name = $3 ORDER BY created_at DESC, rule_id DESC LIMIT $4";
const UPDATE: &str = "UPDATE subscription_rule SET namespace_name = $3, repo_name = $4, \
    source_provider = $5, source_domain = $6, source_namespace_name = $7, source_repo_name = $8, \
    platforms = $9, tag_regexp = $10, tag_count = $11, override_tags = $12, accelerate = $13, \
    modified_at = $14, index_mode = $15, referrers = $16 WHERE instance_id = $1 AND rule_id = $2";
const DELETE: &str = "DELETE FROM subscription_rule WHERE instance_id = $1 AND rule_id = $2";

/// Every statement of this file.
pub const STATEMENTS: &[&str] =
    &[INSERT, FIND, FIND_BY_ID, LIST, LIST_FROM_END, OF_TARGET, UPDATE, DELETE];

pub async fn insert(session: &mut Session, rule: &SubscriptionRule) -> Result<(), DbError> {
    let values = args![
        &rule.rule_id,
        &rule.instance_id,
        &rule.namespace_name,
        &rule.repo_name,
        &rule.source_provider,
        &rule.source_domain,
        &rule.source_namespace_name,
        &rule.source_repo_name,
        &rule.platforms,
        &rule.tag_regexp,
        rule.tag_count,
        rule.override_tags,
        rule.accelerate,
        rule.created_at,
        rule.modified_at,
        &rule.index_mode,
        rule.referrers
    ];
    session.execute(INSERT, values).await.map(drop)
}

/// The rule of this id in this instance.
pub async fn find(
    session: &mut Session,
    instance_id: &str,
    rule_id: &str,
) -> Result<Option<SubscriptionRule>, DbError> {
    let row = session.fetch_optional(FIND, args![instance_id, rule_id]).await?;
    row.as_ref().map(read).transpose()
}

/// The rule of this id in whatever instance.
pub async fn find_by_id(
    session: &mut Session,
    rule_id: &str,
) -> Result<Option<SubscriptionRule>, DbError> {
    session.fetch_optional(FIND_BY_ID, args![rule_id]).await?.as_ref().map(read).transpose()
}

/// A page, newest first, and the number of all rules of the instance.
pub async fn list(
    session: &mut Session,
    instance_id: &str,
    page: Page,
) -> Result<(Vec<SubscriptionRule>, i64), DbError> {
    let total = list_count::total(session, List::ArtifactSubscriptionRule, instance_id, "").await?;
    let Some(reach) = page.reach(total) else { return Ok((Vec::new(), total)) };
    let values = args![instance_id, reach.limit, reach.offset];
    let rows = session.fetch_all(reach.pick([LIST, LIST_FROM_END]), values).await?;
    Ok((rows.iter().map(read).collect::<Result<_, _>>()?, total))
}

/// At most `limit` of the rules that fill a repository, newest first.
pub async fn of_target(
    session: &mut Session,
    instance_id: &str,
    namespace_name: &str,
    repo_name: &str,
    limit: i64,
) -> Result<Vec<SubscriptionRule>, DbError> {
    let values = args![instance_id, namespace_name, repo_name, limit];
    session.fetch_all(OF_TARGET, values).await?.iter().map(read).collect()
}

/// Writes everything that may change (not ids and birth); `false` when the rule is gone.
pub async fn update(session: &mut Session, rule: &SubscriptionRule) -> Result<bool, DbError> {
    let values = args![
        &rule.instance_id,
        &rule.rule_id,
        &rule.namespace_name,
        &rule.repo_name,
        &rule.source_provider,
        &rule.source_domain,
        &rule.source_namespace_name,
        &rule.source_repo_name,
        &rule.platforms,
        &rule.tag_regexp,
        rule.tag_count,
        rule.override_tags,
        rule.accelerate,
        rule.modified_at,
        &rule.index_mode,
        rule.referrers
    ];
    Ok(session.execute(UPDATE, values).await? == 1)
}

/// `false` when there was none.
pub async fn delete(
    session: &mut Session,
    instance_id: &str,
    rule_id: &str,
) -> Result<bool, DbError> {
    Ok(session.execute(DELETE, args![instance_id, rule_id]).await? == 1)
}

fn read(row: &Row) -> Result<SubscriptionRule, DbError> {
    Ok(SubscriptionRule {
        rule_id: row.text("rule_id")?,
        instance_id: row.text("instance_id")?,
        namespace_name: row.text("namespace_name")?,
        repo_name: row.text("repo_name")?,
        source_provider: row.text("source_provider")?,
        source_domain: row.text("source_domain")?,
        source_namespace_name: row.text("source_namespace_name")?,
        source_repo_name: row.text("source_repo_name")?,
        platforms: row.text("platforms")?,
        tag_regexp: row.text("tag_regexp")?,
        tag_count: row.int("tag_count")?,
        override_tags: row.boolean("override_tags")?,
        accelerate: row.boolean("accelerate")?,
        index_mode: row.text("index_mode")?,
        referrers: row.boolean("referrers")?,
        created_at: row.int("created_at")?,
        modified_at: row.int("modified_at")?,
    })
}
