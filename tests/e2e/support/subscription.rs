//! The steps of subscribing to an upstream through the control plane.

use crate::build::text;
use berth_testkit::server::TestServer;
use serde_json::Value;
use std::time::{Duration, Instant};

/// What a rule says; the rest is the same in every story.
#[derive(Debug, Clone, Copy)]
pub struct Rule<'a> {
    /// `namespace/repository` here, which exists.
    pub target: (&'a str, &'a str),
    /// The source's host name, or `None` for the one that provider QUAY is configured to be.
    pub domain: Option<&'a str>,
    /// `namespace/repository` at the source.
    pub source: (&'a str, &'a str),
    /// Which tags.
    pub tag_regexp: &'a str,
    /// How many of them at most.
    pub tag_count: &'a str,
    /// Which platforms of multi-arch images.
    pub platforms: &'a [&'a str],
}

/// The `berth.toml` lines that let a provider's name stand for an upstream on this machine.
#[must_use]
pub fn provider(name: &str, host: &str) -> String {
    format!("[upstream.providers.{name}]\nendpoint = \"http://{host}\"\n")
}

/// Makes a rule; returns its id.
#[must_use]
pub fn rule(server: &TestServer, rule: &Rule<'_>) -> String {
    let platforms: Vec<(String, &str)> = rule
        .platforms
        .iter()
        .enumerate()
        .map(|(index, platform)| (format!("Platform.{}", index + 1), *platform))
        .collect();
    let mut parameters = vec![
        ("InstanceId", server.credentials().instance_id.as_str()),
        ("NamespaceName", rule.target.0),
        ("RepoName", rule.target.1),
        ("SourceProvider", if rule.domain.is_some() { "CUSTOM" } else { "QUAY" }),
        ("SourceNamespaceName", rule.source.0),
        ("SourceRepoName", rule.source.1),
        ("TagRegexp", rule.tag_regexp),
        ("TagCount", rule.tag_count),
        ("Override", "true"),
    ];
    parameters.extend(rule.domain.map(|domain| ("SourceDomain", domain)));
    parameters.extend(platforms.iter().map(|(name, value)| (name.as_str(), *value)));
    text(&server.api().call("CreateArtifactSubscriptionRule", &parameters), "RuleId")
}

/// Runs a rule now; returns the task's id.
#[must_use]
pub fn start(server: &TestServer, rule_id: &str) -> String {
    let made = server.api().call(
        "CreateArtifactSubscriptionTask",
        &[("InstanceId", &server.credentials().instance_id), ("RuleId", rule_id)],
    );
    text(&made, "TaskId")
}

/// A task as it stands.
#[must_use]
pub fn task(server: &TestServer, id: &str) -> Value {
    let instance = &server.credentials().instance_id;
    let parameters = [("InstanceId", instance.as_str()), ("TaskId", id)];
    server.api().call("GetArtifactSubscriptionTask", &parameters)
}

/// Waits until a task is over and returns it as it ended.
///
/// # Panics
/// When it takes more than two minutes.
#[must_use]
pub fn wait(server: &TestServer, id: &str) -> Value {
    let begin = Instant::now();
    loop {
        let task = task(server, id);
        if task["TaskStatus"] == "COMPLETED" {
            return task;
        }
        let limit = Duration::from_secs(120);
        assert!(begin.elapsed() < limit, "not over within {limit:?}: {task}\n{}", server.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The rows of a task, as (tag, status, result), sorted by tag.
#[must_use]
pub fn results(server: &TestServer, id: &str) -> Vec<(String, String, String)> {
    let page = server.api().call(
        "GetArtifactSubscriptionTaskResult",
        &[
            ("InstanceId", &server.credentials().instance_id),
            ("TaskId", id),
            ("PageNo", "1"),
            ("PageSize", "100"),
        ],
    );
    let rows = page["TaskResults"].as_array().cloned().unwrap_or_default();
    let mut rows: Vec<_> = rows
        .iter()
        .map(|row| (text(row, "Tag"), text(row, "Status"), text(row, "Result")))
        .collect();
    rows.sort();
    rows
}
