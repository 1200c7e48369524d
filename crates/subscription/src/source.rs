//! Damaged blobs, fetched again from where subscriptions copied them.

use std::collections::HashSet;
use std::error::Error;

use async_trait::async_trait;
use berth_artifacts::{BlobSource, RefetchError, Repair, Repository};
use berth_metadata::DbError;
use berth_metadata::tables::{artifact_subscription_rule, artifact_subscription_task};
use berth_oci::Descriptor;

use crate::artifact_subscription_rule::{SubscriptionRule, read};
use crate::provider;
use crate::subscription::Subscription;

/// Rules and runs of a repository that are looked at.
const MOST_RULES: i64 = 10;
const MOST_RUNS: i64 = 100;

/// Sources that are asked for one blob.
const MOST_SOURCES: usize = 10;

#[async_trait]
impl BlobSource for Subscription {
    fn name(&self) -> &'static str {
        "upstream"
    }

    /// Asks the sources of the rules that fill a repository that has the blob, then those of past
    /// runs, whose rules may be gone.
    async fn refetch(&self, repair: &Repair) -> Result<bool, RefetchError> {
        let mut failures = Vec::new();
        for rule in self.rules_behind(repair.repositories()).await? {
            match self.refetch_by(&rule, repair).await {
                Ok(()) => return Ok(true),
                Err(reason) => failures.push((rule.source_domain, reason)),
            }
        }
        if failures.is_empty() { Ok(false) } else { Err(RefetchError::Places(failures)) }
    }
}

impl Subscription {
    /// One rule for every source that may have filled one of the repositories.
    async fn rules_behind(
        &self,
        repositories: &[Repository],
    ) -> Result<Vec<SubscriptionRule>, DbError> {
        let mut session = self.db().read().await?;
        let mut rules = Vec::new();
        for repository in repositories {
            let Repository { instance_id, namespace_name, name, .. } = repository;
            let now = artifact_subscription_rule::of_target(
                &mut session,
                instance_id,
                namespace_name,
                name,
                MOST_RULES,
            );
            rules.extend(now.await?.into_iter().filter_map(|row| read(row).ok()));
            let past = artifact_subscription_task::rules_of_target(
                &mut session,
                instance_id,
                namespace_name,
                name,
                MOST_RUNS,
            );
            rules.extend(past.await?.iter().filter_map(|json| serde_json::from_str(json).ok()));
        }
        let mut seen = HashSet::new();
        rules.retain(|rule: &SubscriptionRule| {
            let source = (rule.source_provider.clone(), rule.source_domain.clone());
            seen.insert((source, provider::source_repository(rule)))
        });
        rules.truncate(MOST_SOURCES);
        Ok(rules)
    }

    async fn refetch_by(
        &self,
        rule: &SubscriptionRule,
        repair: &Repair,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let client = self.client(rule)?;
        let descriptor =
            Descriptor::new("application/octet-stream", repair.digest().clone(), repair.size());
        let stream = client.blob(&provider::source_repository(rule), &descriptor).await?;
        Ok(repair.fill(stream).await?)
    }
}
