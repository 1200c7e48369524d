//! Artifact subscription rules: create, get, list, update, delete.

use async_trait::async_trait;
use berth_subscription::{NewSubscriptionRule, RuleChanges, SubscriptionRule};

use super::Done;
use crate::control::Control;
use crate::error::ApiError;
use crate::operation::{Action, Call};
use crate::paging::page;
use crate::schema::{request, response};

request! { CreateArtifactSubscriptionRule {
    /// Faster transfer at ACR; kept and shown, without effect here.
    accelerate: Option<bool> = Acr "Accelerate",
    /// The instance.
    _instance_id: String = Acr "InstanceId",
    /// What becomes of an index of which only some platforms are taken: `KEEP` (when left out) keeps
    /// its bytes, `REWRITE` writes one that has these platforms only.
    index_mode: Option<String> = Extension "IndexMode",
    /// The namespace to copy into.
    namespace_name: String = Acr "NamespaceName",
    /// Whether tags that exist are overwritten; false when left out.
    override_tags: Option<bool> = Acr "Override",
    /// Platforms to take of multi-arch sources, as `linux/amd64`; `*/*` for all.
    platform: Vec<String> = Acr "Platform",
    /// Whether signatures, SBOMs and attestations of a tag's images come along; true when left out.
    referrers: Option<bool> = Extension "Referrers",
    /// The repository to copy into.
    repo_name: String = Acr "RepoName",
    /// The upstream's host, when `SourceProvider` is `CUSTOM`.
    source_domain: Option<String> = Extension "SourceDomain",
    /// The upstream's namespace; `library` when left out for `DOCKER_HUB`.
    source_namespace_name: Option<String> = Acr "SourceNamespaceName",
    /// `DOCKER_HUB`, `QUAY`, `GCR`, or an extension such as `CUSTOM`.
    source_provider: String = Acr "SourceProvider",
    /// The upstream's repository.
    source_repo_name: String = Acr "SourceRepoName",
    /// How many of the newest matching tags to take.
    tag_count: i64 = Acr "TagCount",
    /// What the whole tag must match.
    tag_regexp: String = Acr "TagRegexp",
} }

response! { CreatedSubscriptionRule {
    /// The id of the new rule.
    rule_id: String = Acr "RuleId",
} }

#[async_trait]
impl Action for CreateArtifactSubscriptionRule {
    type Response = CreatedSubscriptionRule;

    async fn run(
        self,
        control: &Control,
        call: &Call,
    ) -> Result<CreatedSubscriptionRule, ApiError> {
        let new = NewSubscriptionRule {
            namespace_name: self.namespace_name,
            repo_name: self.repo_name,
            source_provider: self.source_provider,
            source_domain: self.source_domain,
            source_namespace_name: self.source_namespace_name,
            source_repo_name: self.source_repo_name,
            platforms: self.platform,
            tag_regexp: self.tag_regexp,
            tag_count: self.tag_count,
            override_tags: self.override_tags.unwrap_or(false),
            accelerate: self.accelerate.unwrap_or(false),
            index_mode: self.index_mode,
            referrers: self.referrers,
        };
        let subscription = control.subscription();
        let rule_id = subscription.create_rule(&call.ctx, call.instance_id()?, new).await?;
        Ok(CreatedSubscriptionRule { rule_id })
    }
}

request! { GetArtifactSubscriptionRule {
    /// The instance.
    _instance_id: String = Acr "InstanceId",
    /// The rule.
    rule_id: String = Acr "RuleId",
} }

response! {
    /// A subscription rule, by itself and as a row. Of a rule that does not exist there is an empty
    /// `RuleId` and nothing else: clients of ACR take that for its absence.
    SubscriptionRuleAnswer {
        /// Whether faster transfer was asked for.
        accelerate: Option<bool> = Acr "Accelerate",
        /// Milliseconds since the epoch.
        create_time: Option<i64> = Acr "CreateTime",
        /// The instance.
        instance_id: Option<String> = Acr "InstanceId",
        /// `KEEP` or `REWRITE`.
        index_mode: Option<&'static str> = Extension "IndexMode",
        /// Milliseconds since the epoch.
        modified_time: Option<i64> = Acr "ModifiedTime",
        /// The namespace it copies into.
        namespace_name: Option<String> = Acr "NamespaceName",
        /// Whether tags that exist are overwritten.
        override_tags: Option<bool> = Acr "Override",
        /// Platforms it takes of multi-arch sources.
        platform: Option<Vec<String>> = Acr "Platform",
        /// Whether what refers to an image comes along.
        referrers: Option<bool> = Extension "Referrers",
        /// The repository it copies into.
        repo_name: Option<String> = Acr "RepoName",
        /// The id.
        rule_id: String = Acr "RuleId",
        /// The upstream's host.
        source_domain: Option<String> = Acr "SourceDomain",
        /// The upstream's namespace.
        source_namespace_name: Option<String> = Acr "SourceNamespaceName",
        /// The upstream's provider.
        source_provider: Option<String> = Acr "SourceProvider",
        /// The upstream's repository.
        source_repo_name: Option<String> = Acr "SourceRepoName",
        /// How many of the newest matching tags it takes.
        tag_count: Option<i64> = Acr "TagCount",
        /// What the whole tag must match.
        tag_regexp: Option<String> = Acr "TagRegexp",
    }
}

fn answer(rule: SubscriptionRule) -> SubscriptionRuleAnswer {
    SubscriptionRuleAnswer {
        accelerate: Some(rule.accelerate),
        create_time: Some(rule.created_at),
        instance_id: Some(rule.instance_id),
        index_mode: Some(rule.index_mode.as_str()),
        modified_time: Some(rule.modified_at),
        namespace_name: Some(rule.namespace_name),
        override_tags: Some(rule.override_tags),
        platform: Some(rule.platforms),
        referrers: Some(rule.referrers),
        repo_name: Some(rule.repo_name),
        rule_id: rule.rule_id,
        source_domain: Some(rule.source_domain),
        source_namespace_name: Some(rule.source_namespace_name),
        source_provider: Some(rule.source_provider),
        source_repo_name: Some(rule.source_repo_name),
        tag_count: Some(rule.tag_count),
        tag_regexp: Some(rule.tag_regexp),
    }
}

fn absent() -> SubscriptionRuleAnswer {
    SubscriptionRuleAnswer {
        accelerate: None,
        create_time: None,
        instance_id: None,
        index_mode: None,
        modified_time: None,
        namespace_name: None,
        override_tags: None,
        platform: None,
        referrers: None,
        repo_name: None,
        rule_id: String::new(),
        source_domain: None,
        source_namespace_name: None,
        source_provider: None,
        source_repo_name: None,
        tag_count: None,
        tag_regexp: None,
    }
}

#[async_trait]
impl Action for GetArtifactSubscriptionRule {
    type Response = SubscriptionRuleAnswer;

    async fn run(self, control: &Control, call: &Call) -> Result<SubscriptionRuleAnswer, ApiError> {
        let instance_id = call.instance_id()?;
        let subscription = control.subscription();
        let rule = subscription.get_rule(&call.ctx, instance_id, &self.rule_id).await?;
        Ok(rule.map_or_else(absent, answer))
    }
}

request! { UpdateArtifactSubscriptionRule {
    /// Faster transfer at ACR.
    accelerate: Option<bool> = Acr "Accelerate",
    /// The instance.
    _instance_id: String = Acr "InstanceId",
    /// `KEEP` or `REWRITE`: what becomes of an index of which only some platforms are taken.
    index_mode: Option<String> = Extension "IndexMode",
    /// The namespace to copy into.
    namespace_name: Option<String> = Acr "NamespaceName",
    /// Whether tags that exist are overwritten.
    override_tags: Option<bool> = Acr "Override",
    /// Platforms to take of multi-arch sources.
    platform: Option<Vec<String>> = Acr "Platform",
    /// Whether signatures, SBOMs and attestations of a tag's images come along.
    referrers: Option<bool> = Extension "Referrers",
    /// The repository to copy into.
    repo_name: Option<String> = Acr "RepoName",
    /// The rule.
    rule_id: String = Acr "RuleId",
    /// The upstream's host, when `SourceProvider` is `CUSTOM`.
    source_domain: Option<String> = Extension "SourceDomain",
    /// The upstream's namespace.
    source_namespace_name: Option<String> = Acr "SourceNamespaceName",
    /// The upstream's provider.
    source_provider: Option<String> = Acr "SourceProvider",
    /// The upstream's repository.
    source_repo_name: Option<String> = Acr "SourceRepoName",
    /// How many of the newest matching tags to take.
    tag_count: Option<i64> = Acr "TagCount",
    /// What the whole tag must match.
    tag_regexp: Option<String> = Acr "TagRegexp",
} }

#[async_trait]
impl Action for UpdateArtifactSubscriptionRule {
    type Response = Done;

    async fn run(self, control: &Control, call: &Call) -> Result<Done, ApiError> {
        let changes = RuleChanges {
            namespace_name: self.namespace_name,
            repo_name: self.repo_name,
            source_provider: self.source_provider,
            source_domain: self.source_domain,
            source_namespace_name: self.source_namespace_name,
            source_repo_name: self.source_repo_name,
            platforms: self.platform,
            tag_regexp: self.tag_regexp,
            tag_count: self.tag_count,
            override_tags: self.override_tags,
            accelerate: self.accelerate,
            index_mode: self.index_mode,
            referrers: self.referrers,
        };
        let instance_id = call.instance_id()?;
        let subscription = control.subscription();
        subscription.update_rule(&call.ctx, instance_id, &self.rule_id, changes).await?;
        Ok(Done {})
    }
}

request! { DeleteArtifactSubscriptionRule {
    /// The instance.
    _instance_id: String = Acr "InstanceId",
    /// The rule.
    rule_id: String = Acr "RuleId",
} }

#[async_trait]
impl Action for DeleteArtifactSubscriptionRule {
    type Response = Done;

    async fn run(self, control: &Control, call: &Call) -> Result<Done, ApiError> {
        let instance_id = call.instance_id()?;
        control.subscription().delete_rule(&call.ctx, instance_id, &self.rule_id).await?;
        Ok(Done {})
    }
}

request! { ListArtifactSubscriptionRule {
    /// The instance.
    _instance_id: String = Acr "InstanceId",
    /// The page, from 1.
    page_no: Option<i64> = Acr "PageNo",
    /// Rules per page, 30 when left out, at most 100.
    page_size: Option<i64> = Acr "PageSize",
} }

response! { SubscriptionRuleList {
    /// The page.
    page_no: i64 = Acr "PageNo",
    /// Rules per page.
    page_size: i64 = Acr "PageSize",
    /// The rules of the page, newest first.
    rules: Vec<SubscriptionRuleAnswer> = Acr "Rules",
    /// How many there are on all pages.
    total_count: i64 = Acr "TotalCount",
} }

#[async_trait]
impl Action for ListArtifactSubscriptionRule {
    type Response = SubscriptionRuleList;

    async fn run(self, control: &Control, call: &Call) -> Result<SubscriptionRuleList, ApiError> {
        let page = page(self.page_no, self.page_size)?;
        let subscription = control.subscription();
        let (rules, total_count) =
            subscription.list_rules(&call.ctx, call.instance_id()?, page).await?;
        Ok(SubscriptionRuleList {
            page_no: page.number,
            page_size: page.size,
            rules: rules.into_iter().map(answer).collect(),
            total_count,
        })
    }
}
