//! The steps of building accelerated images through the control plane.

use berth_testkit::api::Api;
use berth_testkit::server::TestServer;
use serde_json::Value;
use std::time::{Duration, Instant};

/// How long any build of these tests may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Makes a namespace (when there is none yet) and a repository; returns the repository's id.
///
/// # Panics
/// When the server refuses.
#[must_use]
pub fn repository(server: &TestServer, namespace: &str, name: &str) -> String {
    let api = server.api();
    let instance = server.credentials().instance_id.clone();
    let known = [("InstanceId", instance.as_str()), ("NamespaceName", namespace)];
    let found = api.try_call("GetNamespace", &known).expect("the server answers");
    if found.body["IsSuccess"] != true {
        let _ = api.call("CreateNamespace", &known);
    }
    let made = api.call(
        "CreateRepository",
        &[
            ("InstanceId", &instance),
            ("RepoNamespaceName", namespace),
            ("RepoName", name),
            ("RepoType", "PRIVATE"),
            ("Summary", "made by a test"),
        ],
    );
    text(&made, "RepoId")
}

/// The id of a repository that exists.
#[must_use]
pub fn repository_id(server: &TestServer, namespace: &str, name: &str) -> String {
    let found = server.api().call(
        "GetRepository",
        &[
            ("InstanceId", &server.credentials().instance_id),
            ("RepoNamespaceName", namespace),
            ("RepoName", name),
        ],
    );
    text(&found, "RepoId")
}

/// Turns on building for a repository; returns the rule's id.
#[must_use]
pub fn rule(server: &TestServer, repository_id: &str) -> String {
    let made = server.api().call(
        "CreateArtifactBuildRule",
        &[
            ("InstanceId", &server.credentials().instance_id),
            ("ArtifactType", "ACCELERATED_IMAGE"),
            ("ScopeType", "REPOSITORY"),
            ("ScopeId", repository_id),
        ],
    );
    text(&made, "BuildRuleId")
}

/// Asks for a build of one tag; returns the task's id.
#[must_use]
pub fn create_task(server: &TestServer, repository_id: &str, tag: &str) -> String {
    let made = server.api().call(
        "CreateArtifactBuildTask",
        &[
            ("InstanceId", &server.credentials().instance_id),
            ("RepoId", repository_id),
            ("Tag", tag),
        ],
    );
    text(&made, "BuildTaskId")
}

/// All build tasks of a repository, as `ListArtifactBuildTask` has them.
///
/// # Panics
/// When the answer holds no list.
#[must_use]
pub fn tasks(server: &TestServer, repository_id: &str) -> Vec<Value> {
    let listed = server.api().call(
        "ListArtifactBuildTask",
        &[
            ("InstanceId", &server.credentials().instance_id),
            ("RepoId", repository_id),
            ("PageNo", "1"),
            ("PageSize", "100"),
        ],
    );
    let lists: Vec<&Vec<Value>> = listed
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(_, value)| value.as_array())
        .collect();
    match lists.as_slice() {
        [list] => (*list).clone(),
        _ => panic!("ListArtifactBuildTask holds no single list: {listed}"),
    }
}

/// The task that a push of `tag` has caused; waits for it, since a push may come from another party.
///
/// # Panics
/// When none appears.
#[must_use]
pub fn task_of_tag(server: &TestServer, repository_id: &str, tag: &str) -> String {
    let begin = Instant::now();
    loop {
        let tasks = tasks(server, repository_id);
        if let Some(task) = tasks.iter().find(|task| task["SourceArtifact"]["Version"] == tag) {
            return text(task, "BuildTaskId");
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "no build task for {tag}: {tasks:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A task as it stands.
#[must_use]
pub fn task(api: &Api, instance: &str, task: &str) -> Value {
    api.call("GetArtifactBuildTask", &[("InstanceId", instance), ("BuildTaskId", task)])
}

/// Waits until a task is over and returns it as it ended.
///
/// # Panics
/// When it takes too long.
#[must_use]
pub fn wait(server: &TestServer, id: &str) -> Value {
    let (api, begin) = (server.api(), Instant::now());
    loop {
        let task = task(&api, &server.credentials().instance_id, id);
        if task["TaskStatus"] == "SUCCESS" || task["TaskStatus"] == "FAILED" {
            return task;
        }
        assert!(begin.elapsed() < LIMIT, "not over within {LIMIT:?}: {task}\n{}", server.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until a task has succeeded.
///
/// # Panics
/// With the task's log, when it has not.
pub fn wait_success(server: &TestServer, id: &str) -> Value {
    let task = wait(server, id);
    assert_eq!(task["TaskStatus"], "SUCCESS", "{task}\n{}", log(server, id).join("\n"));
    task
}

/// All lines of a task's log.
#[must_use]
pub fn log(server: &TestServer, id: &str) -> Vec<String> {
    let page = server.api().call(
        "ListArtifactBuildTaskLog",
        &[
            ("InstanceId", &server.credentials().instance_id),
            ("BuildTaskId", id),
            ("Page", "1"),
            ("PageSize", "100"),
        ],
    );
    let rows = page["BuildTaskLogs"].as_array().cloned().unwrap_or_default();
    rows.iter().map(|row| text(row, "Message")).collect()
}

pub(crate) fn text(value: &Value, name: &str) -> String {
    match value[name].as_str() {
        Some(text) if !text.is_empty() => text.to_owned(),
        _ => panic!("no {name} in {value}"),
    }
}
