//! An instance holds what its quota allows, says so, and tells both planes' clients why not more.

use berth_testkit::registry::Registry;
use berth_testkit::server::TestServer;
use berth_tests::{build, maintenance};
use serde_json::{Value, json};

fn usage(server: &TestServer) -> Value {
    let instance = server.credentials().instance_id.as_str();
    server.api().call("GetInstanceUsage", &[("InstanceId", instance)])
}

fn set_quota(server: &TestServer, quota: &[(&str, &str)]) {
    let mut parameters = vec![("InstanceId", server.credentials().instance_id.as_str())];
    parameters.extend_from_slice(quota);
    let _ = server.api().call("UpdateInstanceQuota", &parameters);
}

/// What a client hears that wants to begin an upload.
fn refusal(registry: &Registry, repository: &str) -> String {
    let begin = registry.request("POST", &format!("/v2/{repository}/blobs/uploads/"));
    let answer = begin.body("").send().expect("an answer");
    assert_eq!(answer.status().as_u16(), 403, "{answer:?}");
    let body: Value = serde_json::from_str(&answer.text().expect("a body")).expect("JSON");
    assert_eq!(body["errors"][0]["code"], "DENIED", "{body}");
    body["errors"][0]["message"].to_string()
}

#[test]
fn an_instance_holds_what_it_may() {
    let server = TestServer::start_with(
        "[limits]\ninstance_storage = \"250KiB\"\ninstance_namespaces = 2\n\
         instance_repositories = 3\n[gc]\ngrace = \"0s\"\n",
    );
    let (registry, api) = (server.registry(), server.api());
    let content = |seed: u8| vec![seed; 100 << 10];
    let repository_id = build::repository(&server, "team", "app");
    let first = registry.push_blob("team/app", &content(1)).expect("a push");
    registry.push_blob("team/app", &content(2)).expect("a push");
    // Two of them are in the quota, a third is not; one that is here takes no more.
    let refused = registry.push_blob("team/app", &content(3)).expect_err("no room");
    let refused = refused.to_string();
    assert!(refused.contains("403") && refused.contains("DENIED"), "{refused}");
    assert!(refused.contains("204800 bytes and may hold 256000"), "{refused}");
    registry.push_blob("team/app", &content(1)).expect("a push");
    let mount = format!("/v2/team/other/blobs/uploads/?mount={first}&from=team/app");
    let answer = registry.request("POST", &mount).body("").send().expect("an answer");
    assert_eq!(answer.status().as_u16(), 403);

    let before = usage(&server);
    let wanted = json!({
        "ChartNamespaceQuota": "0", "ChartNamespaceUsage": "0",
        "ChartRepoQuota": "0", "ChartRepoUsage": "0",
        "NamespaceQuota": "2", "NamespaceUsage": "1",
        "RepoQuota": "3", "RepoUsage": "2",
        "StorageQuota": "256000", "StorageUsage": "204800",
        "VpcQuota": "0", "VpcUsage": "0",
    });
    for (name, value) in wanted.as_object().expect("an object") {
        assert_eq!(&before[name], value, "{name}");
    }

    // Names count on both planes.
    registry.push_blob("other/app", b"small").expect("a second namespace");
    let refused = refusal(&registry, "third/app");
    assert!(refused.contains("has 2 namespaces and may have 2"), "{refused}");
    let instance = server.credentials().instance_id.as_str();
    let parameters = [("InstanceId", instance), ("NamespaceName", "third")];
    let answer = api.try_call("CreateNamespace", &parameters).expect("an answer");
    assert_eq!((answer.status, &answer.body["Code"]), (200, &"QUOTA_EXCEEDED".into()));
    assert_eq!(answer.body["IsSuccess"], false, "{}", answer.body);
    let refused = refusal(&registry, "team/fourth");
    assert!(refused.contains("has 3 repositories and may have 3"), "{refused}");

    // The operator gives it more, and takes the limit away.
    set_quota(&server, &[("StorageQuota", "400000"), ("RepoQuota", "0"), ("NamespaceQuota", "-1")]);
    registry.push_blob("team/app", &content(3)).expect("room");
    registry.push_blob("team/fourth", b"small").expect("room");
    let after = usage(&server);
    assert_eq!((&after["StorageQuota"], &after["NamespaceQuota"]), (&"400000".into(), &"2".into()));
    assert_eq!(after["RepoQuota"], Value::Null, "there is no limit");
    let parameters = [("InstanceId", instance), ("StorageQuota", "-2")];
    let wrong = api.try_call("UpdateInstanceQuota", &parameters).expect("an answer");
    assert_eq!((wrong.status, &wrong.body["Code"]), (400, &"InvalidStorageQuota".into()));

    // What goes makes room: a repository, and what the collector takes from another.
    let parameters = [("InstanceId", instance), ("RepoId", repository_id.as_str())];
    let _ = api.call("DeleteRepository", &parameters);
    assert_eq!(usage(&server)["StorageUsage"], "10");
    let task = maintenance::run(&server, "GC");
    assert_eq!(task["TaskStatus"], "SUCCESS", "{task}");
    assert_eq!(usage(&server)["StorageUsage"], "0", "no manifest names the small ones");
}
