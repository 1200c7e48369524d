//! Subscription rules.

use berth_metadata::Page;
use berth_metadata::tables::artifact_subscription_rule::{self, SubscriptionRule as Row};
use berth_metadata::tables::schedule;
use berth_metadata::{DbError, Session};
use berth_tasks::SCHEDULES_CHANNEL;
use berth_types::{Ctx, Millis, RepoName, id};
use serde::{Deserialize, Serialize};

use crate::error::{SubscriptionError, SubscriptionErrorKind};
use crate::schedule::schedule_of;
use crate::subscription::Subscription;
use crate::validate;

/// A rule to create. Empty texts count as not given.
#[derive(Debug, Clone, Default)]
pub struct NewSubscriptionRule {
    /// The target namespace and repository; both must exist.
    pub namespace_name: String,
    pub repo_name: String,
    /// `DOCKER_HUB`, `QUAY`, `GCR`, or the extensions `GHCR` and `CUSTOM`.
    pub source_provider: String,
    /// Of CUSTOM only: `host[:port]`, `https://host[:port]` or `http://host[:port]`.
    pub source_domain: Option<String>,
    /// `library` by default on Docker Hub.
    pub source_namespace_name: Option<String>,
    pub source_repo_name: String,
    /// `os/architecture[/variant]`, `*` for any.
    pub platforms: Vec<String>,
    /// Must match the whole tag.
    pub tag_regexp: String,
    /// How many of the newest matching tags are taken.
    pub tag_count: i64,
    /// Whether a tag that exists here is moved.
    pub override_tags: bool,
    /// Kept and shown; Berth has no slower way to be faster than.
    pub accelerate: bool,
    /// `KEEP` (when left out) or `REWRITE`: [`IndexMode`].
    pub index_mode: Option<String>,
    /// Whether signatures, SBOMs and attestations that refer to an image come along; they do when it
    /// is left out.
    pub referrers: Option<bool>,
}

/// What to change of a rule; `None` leaves it.
#[derive(Debug, Clone, Default)]
pub struct RuleChanges {
    pub namespace_name: Option<String>,
    pub repo_name: Option<String>,
    pub source_provider: Option<String>,
    pub source_domain: Option<String>,
    pub source_namespace_name: Option<String>,
    pub source_repo_name: Option<String>,
    pub platforms: Option<Vec<String>>,
    pub tag_regexp: Option<String>,
    pub tag_count: Option<i64>,
    pub override_tags: Option<bool>,
    pub accelerate: Option<bool>,
    pub index_mode: Option<String>,
    pub referrers: Option<bool>,
}

/// A rule as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionRule {
    pub rule_id: String,
    pub instance_id: String,
    pub namespace_name: String,
    pub repo_name: String,
    pub source_provider: String,
    /// Always filled; `http://` in front only for plain HTTP.
    pub source_domain: String,
    pub source_namespace_name: String,
    pub source_repo_name: String,
    pub platforms: Vec<String>,
    pub tag_regexp: String,
    pub tag_count: i64,
    pub override_tags: bool,
    pub accelerate: bool,
    #[serde(default)]
    pub index_mode: IndexMode,
    #[serde(default = "yes")]
    pub referrers: bool,
    pub created_at: Millis,
    pub modified_at: Millis,
}

fn yes() -> bool {
    true
}

/// What becomes of an index of which a rule takes some platforms only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum IndexMode {
    /// It keeps its bytes, and so its digest and signatures; children of other platforms are absent.
    #[default]
    Keep,
    /// It is written anew with the kept children only, and has a digest of its own.
    Rewrite,
}

impl IndexMode {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "KEEP",
            Self::Rewrite => "REWRITE",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Keep, Self::Rewrite].into_iter().find(|mode| mode.as_str() == name)
    }

    fn given(name: Option<&str>) -> Result<Option<Self>, SubscriptionError> {
        let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(None) };
        let mode = Self::parse(name).ok_or_else(|| {
            SubscriptionError::invalid("IndexMode", format!("`{name}` is neither KEEP nor REWRITE"))
        })?;
        Ok(Some(mode))
    }
}

impl Subscription {
    /// Creates a rule, whose first periodic run is due after one interval.
    ///
    /// # Errors
    /// `InvalidParameter` names the field; `NamespaceNotFound`, `RepositoryNotFound`.
    pub async fn create_rule(
        &self,
        ctx: &Ctx,
        instance_id: &str,
        new: NewSubscriptionRule,
    ) -> Result<String, SubscriptionError> {
        let now = self.now();
        let draft = SubscriptionRule {
            rule_id: id::generate(id::SUBSCRIPTION_RULE),
            instance_id: instance_id.to_owned(),
            namespace_name: new.namespace_name,
            repo_name: new.repo_name,
            source_provider: new.source_provider,
            source_domain: new.source_domain.unwrap_or_default(),
            source_namespace_name: new.source_namespace_name.unwrap_or_default(),
            source_repo_name: new.source_repo_name,
            platforms: new.platforms,
            tag_regexp: new.tag_regexp,
            tag_count: new.tag_count,
            override_tags: new.override_tags,
            accelerate: new.accelerate,
            index_mode: IndexMode::given(new.index_mode.as_deref())?.unwrap_or_default(),
            referrers: new.referrers.unwrap_or(true),
            created_at: now,
            modified_at: now,
        };
        let rule = validate::complete(self.config(), draft)?;
        let mut session = self.db().begin().await?;
        self.check_target(&mut session, &rule).await?;
        artifact_subscription_rule::insert(&mut session, &row(&rule)?).await?;
        let from = session.database_time().await?;
        let schedule = schedule_of(&rule.rule_id, self.config().interval, from);
        schedule::put(&mut session, &schedule).await?;
        session.commit().await?;
        self.db().notify(SCHEDULES_CHANNEL);
        tracing::info!(request = ctx.request_id, rule = rule.rule_id, "subscription rule created");
        Ok(rule.rule_id)
    }

    /// A rule; `None` when there is none of this id in the instance.
    ///
    /// # Errors
    /// [`SubscriptionError`] when the database fails.
    pub async fn get_rule(
        &self,
        _ctx: &Ctx,
        instance_id: &str,
        rule_id: &str,
    ) -> Result<Option<SubscriptionRule>, SubscriptionError> {
        let mut session = self.db().read().await?;
        let row = artifact_subscription_rule::find(&mut session, instance_id, rule_id).await?;
        row.map(read).transpose()
    }

    /// Changes a rule; the whole of it must be valid afterwards. Tasks that exist keep the rule as
    /// it stood.
    ///
    /// # Errors
    /// `RuleNotFound` and those of [`Subscription::create_rule`].
    pub async fn update_rule(
        &self,
        ctx: &Ctx,
        instance_id: &str,
        rule_id: &str,
        changes: RuleChanges,
    ) -> Result<(), SubscriptionError> {
        let mut session = self.db().begin().await?;
        let row = artifact_subscription_rule::find(&mut session, instance_id, rule_id).await?;
        let mut rule = read(row.ok_or_else(|| rule_not_found(rule_id))?)?;
        changes.apply(&mut rule)?;
        rule.modified_at = self.now();
        let rule = validate::complete(self.config(), rule)?;
        self.check_target(&mut session, &rule).await?;
        artifact_subscription_rule::update(&mut session, &self::row(&rule)?).await?;
        session.commit().await?;
        tracing::info!(request = ctx.request_id, rule = rule_id, "subscription rule changed");
        Ok(())
    }

    /// Deletes a rule and its schedule. Its tasks and their results stay, and one that runs ends by
    /// itself.
    ///
    /// # Errors
    /// `RuleNotFound`.
    pub async fn delete_rule(
        &self,
        ctx: &Ctx,
        instance_id: &str,
        rule_id: &str,
    ) -> Result<(), SubscriptionError> {
        let mut session = self.db().begin().await?;
        if !artifact_subscription_rule::delete(&mut session, instance_id, rule_id).await? {
            return Err(rule_not_found(rule_id));
        }
        schedule::remove(&mut session, rule_id).await?;
        session.commit().await?;
        tracing::info!(request = ctx.request_id, rule = rule_id, "subscription rule deleted");
        Ok(())
    }

    /// A page of rules, newest first, and how many there are in all.
    ///
    /// # Errors
    /// [`SubscriptionError`] when the database fails.
    pub async fn list_rules(
        &self,
        _ctx: &Ctx,
        instance_id: &str,
        page: Page,
    ) -> Result<(Vec<SubscriptionRule>, i64), SubscriptionError> {
        let mut session = self.db().read().await?;
        let (rows, total) =
            artifact_subscription_rule::list(&mut session, instance_id, page).await?;
        Ok((rows.into_iter().map(read).collect::<Result<_, _>>()?, total))
    }
}

impl RuleChanges {
    fn apply(self, rule: &mut SubscriptionRule) -> Result<(), SubscriptionError> {
        let index_mode = IndexMode::given(self.index_mode.as_deref())?;
        fn set<T>(field: &mut T, change: Option<T>) {
            if let Some(value) = change {
                *field = value;
            }
        }
        let provider_changes =
            self.source_provider.as_ref().is_some_and(|name| *name != rule.source_provider);
        if provider_changes {
            // The old provider's domain says nothing about the new one.
            rule.source_domain.clear();
        }
        set(&mut rule.namespace_name, self.namespace_name);
        set(&mut rule.repo_name, self.repo_name);
        set(&mut rule.source_provider, self.source_provider);
        set(&mut rule.source_domain, self.source_domain);
        set(&mut rule.source_namespace_name, self.source_namespace_name);
        set(&mut rule.source_repo_name, self.source_repo_name);
        set(&mut rule.platforms, self.platforms);
        set(&mut rule.tag_regexp, self.tag_regexp);
        set(&mut rule.tag_count, self.tag_count);
        set(&mut rule.override_tags, self.override_tags);
        set(&mut rule.accelerate, self.accelerate);
        set(&mut rule.index_mode, index_mode);
        set(&mut rule.referrers, self.referrers);
        Ok(())
    }
}

pub(crate) fn rule_not_found(rule_id: &str) -> SubscriptionError {
    let message = format!("subscription rule `{rule_id}` does not exist in this instance");
    SubscriptionError::refused(SubscriptionErrorKind::RuleNotFound, message)
}

impl Subscription {
    /// The target repository must be there: a rule does not create it.
    async fn check_target(
        &self,
        session: &mut Session,
        rule: &SubscriptionRule,
    ) -> Result<(), SubscriptionError> {
        let artifacts = self.artifacts();
        let (namespace, name) = (rule.namespace_name.as_str(), rule.repo_name.as_str());
        if !artifacts.namespaces().exists_in(session, &rule.instance_id, namespace).await? {
            let message = format!("target namespace `{namespace}` does not exist");
            let kind = SubscriptionErrorKind::NamespaceNotFound;
            return Err(SubscriptionError::refused(kind, message));
        }
        let target = RepoName::new(namespace, name)
            .map_err(|error| SubscriptionError::invalid("RepoName", error))?;
        if artifacts.repositories().find_in(session, &rule.instance_id, &target).await?.is_none() {
            let message = format!("target repository `{target}` does not exist");
            let kind = SubscriptionErrorKind::RepositoryNotFound;
            return Err(SubscriptionError::refused(kind, message));
        }
        Ok(())
    }
}

fn row(rule: &SubscriptionRule) -> Result<Row, SubscriptionError> {
    let rule = rule.clone();
    Ok(Row {
        platforms: serde_json::to_string(&rule.platforms)?,
        rule_id: rule.rule_id,
        instance_id: rule.instance_id,
        namespace_name: rule.namespace_name,
        repo_name: rule.repo_name,
        source_provider: rule.source_provider,
        source_domain: rule.source_domain,
        source_namespace_name: rule.source_namespace_name,
        source_repo_name: rule.source_repo_name,
        tag_regexp: rule.tag_regexp,
        tag_count: rule.tag_count,
        override_tags: rule.override_tags,
        accelerate: rule.accelerate,
        index_mode: rule.index_mode.as_str().to_owned(),
        referrers: rule.referrers,
        created_at: rule.created_at,
        modified_at: rule.modified_at,
    })
}

pub(crate) fn read(row: Row) -> Result<SubscriptionRule, SubscriptionError> {
    let platforms = serde_json::from_str(&row.platforms)
        .map_err(|error| DbError::corrupt("platforms", error))?;
    let index_mode = IndexMode::parse(&row.index_mode)
        .ok_or_else(|| DbError::corrupt("index_mode", &row.index_mode))?;
    Ok(SubscriptionRule {
        rule_id: row.rule_id,
        instance_id: row.instance_id,
        namespace_name: row.namespace_name,
        repo_name: row.repo_name,
        source_provider: row.source_provider,
        source_domain: row.source_domain,
        source_namespace_name: row.source_namespace_name,
        source_repo_name: row.source_repo_name,
        platforms,
        tag_regexp: row.tag_regexp,
        tag_count: row.tag_count,
        override_tags: row.override_tags,
        accelerate: row.accelerate,
        index_mode,
        referrers: row.referrers,
        created_at: row.created_at,
        modified_at: row.modified_at,
    })
}
