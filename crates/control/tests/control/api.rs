//! The API over HTTP, signed as SDKs sign, on a real database.

use std::collections::BTreeSet;

use berth_auth::ClientAddress;
use berth_control::{Field, find};
use serde_json::{Value, json};

use crate::fixture::Fixture;

/// Calls, expects success, and checks that the answer has declared fields of declared types only.
async fn ok(fixture: &Fixture, action: &str, parameters: &[(&str, &str)]) -> Value {
    let answer = fixture.call(action, parameters).await;
    assert_eq!(answer.status, 200, "{action}: {}", answer.body);
    assert_eq!(answer.body["IsSuccess"], true, "{action}: {}", answer.body);
    assert_eq!(answer.body["Code"], "success", "{action}");
    assert_eq!(answer.body["RequestId"], answer.request_id.as_str(), "{action}");
    let operation = find(action).expect("an operation");
    let mut fields = answer.body.as_object().expect("an object").clone();
    for name in ["RequestId", "IsSuccess", "Code"] {
        fields.remove(name);
    }
    conforms(action, operation.response, &Value::Object(fields));
    answer.body
}

fn conforms(path: &str, fields: &[Field], value: &Value) {
    use berth_control::Kind;
    let object = value.as_object().unwrap_or_else(|| panic!("{path} is an object"));
    let declared: BTreeSet<&str> = fields.iter().map(|field| field.name).collect();
    for name in object.keys() {
        assert!(declared.contains(name.as_str()), "{path}.{name} is not declared");
    }
    for field in fields {
        let path = format!("{path}.{}", field.name);
        let Some(value) = object.get(field.name) else {
            assert!(!field.required, "{path} is missing");
            continue;
        };
        match field.kind {
            Kind::Text => assert!(value.is_string(), "{path}: {value}"),
            Kind::Integer => assert!(value.is_i64(), "{path}: {value}"),
            Kind::Boolean => assert!(value.is_boolean(), "{path}: {value}"),
            Kind::TextList => {
                let list = value.as_array().unwrap_or_else(|| panic!("{path} is a list"));
                assert!(list.iter().all(Value::is_string), "{path}: {value}");
            }
            Kind::ObjectList => {
                let list = value.as_array().unwrap_or_else(|| panic!("{path} is a list"));
                list.iter().for_each(|element| conforms(&path, field.fields, element));
            }
            Kind::Object if field.fields.is_empty() => assert!(value.is_object(), "{path}"),
            Kind::Object => conforms(&path, field.fields, value),
        }
    }
}

/// Calls, expects a business failure, gives its code.
async fn failure(fixture: &Fixture, action: &str, parameters: &[(&str, &str)]) -> String {
    let answer = fixture.call(action, parameters).await;
    assert_eq!(answer.status, 200, "{action}: {}", answer.body);
    assert_eq!(answer.body["IsSuccess"], false, "{action}: {}", answer.body);
    assert!(!answer.body["Message"].as_str().expect("a message").is_empty());
    let keys: Vec<&str> =
        answer.body.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(keys, ["RequestId", "IsSuccess", "Code", "Message"]);
    answer.body["Code"].as_str().expect("a code").to_owned()
}

/// Calls, expects an error of the gateway, gives status and code.
async fn refusal(fixture: &Fixture, action: &str, parameters: &[(&str, &str)]) -> (u16, String) {
    let answer = fixture.call(action, parameters).await;
    assert_gateway(&answer.body);
    (answer.status, answer.body["Code"].as_str().expect("a code").to_owned())
}

fn assert_gateway(body: &Value) {
    for name in ["RequestId", "HostId", "Code", "Message", "Recommend"] {
        assert!(body[name].as_str().is_some_and(|text| !text.is_empty()), "{name}: {body}");
    }
}

#[tokio::test]
async fn instances_endpoints_and_tokens() {
    let fixture = Fixture::new().await;
    let id = fixture.instance_id.as_str();
    let instance = ok(&fixture, "GetInstance", &[("InstanceId", id)]).await;
    assert_eq!(instance["InstanceName"], "default");
    assert_eq!(instance["InstanceStatus"], "RUNNING");
    assert!(instance["CreateTime"].is_i64());
    let list = ok(&fixture, "ListInstance", &[("InstanceStatus", "RUNNING")]).await;
    assert_eq!(list["TotalCount"], 1);
    assert_eq!(list["Instances"][0]["InstanceId"], id);
    assert!(list["Instances"][0]["CreateTime"].is_string());
    assert_eq!(ok(&fixture, "ListInstance", &[("PageNo", "2")]).await["Instances"], json!([]));
    let endpoint = [("InstanceId", id), ("EndpointType", "internet")];
    let endpoint = ok(&fixture, "GetInstanceEndpoint", &endpoint).await;
    assert_eq!(endpoint["Domains"], json!([{"Domain": "127.0.0.1:5000", "Type": "SYSTEM"}]));
    let vpc = [("InstanceId", id), ("EndpointType", "vpc")];
    let vpc = ok(&fixture, "GetInstanceEndpoint", &vpc).await;
    assert_eq!((&vpc["Enable"], vpc.get("Status")), (&json!(false), None));
    let endpoints = ok(&fixture, "ListInstanceEndpoint", &[("InstanceId", id)]).await;
    assert_eq!(endpoints["Endpoints"][0]["EndpointType"], "internet");
    let token = [("InstanceId", id), ("ExpiresInHours", "2")];
    let token = ok(&fixture, "GetAuthorizationToken", &token).await;
    assert_eq!(token["ExpireTime"], fixture.now() + 2 * 3_600_000);
    let password = token["AuthorizationToken"].as_str().expect("a password");
    let username = token["TempUsername"].as_str().expect("a name");
    fixture.auth.login(username, password, id, ClientAddress::default()).await.expect("it logs in");
    for hours in ["0", "25", "x"] {
        let token = [("InstanceId", id), ("ExpiresInHours", hours)];
        let refused = refusal(&fixture, "GetAuthorizationToken", &token).await;
        assert_eq!(refused, (400, "InvalidExpiresInHours".to_owned()));
    }
}

#[tokio::test]
async fn namespaces_from_birth_to_death() {
    let fixture = Fixture::new().await;
    let id = fixture.instance_id.as_str();
    let configuration = r#"{"RepoType":"PUBLIC","TagImmutability":"true"}"#;
    let create = [
        ("InstanceId", id),
        ("NamespaceName", "team-a"),
        ("AutoCreateRepo", "False"),
        ("DefaultRepoConfiguration", configuration),
        ("RegionId", "cn-hangzhou"),
    ];
    ok(&fixture, "CreateNamespace", &create).await;
    assert_eq!(failure(&fixture, "CreateNamespace", &create).await, "NAMESPACE_ALREADY_EXIST");
    let named = [("InstanceId", id), ("NamespaceName", "team-a")];
    let namespace = ok(&fixture, "GetNamespace", &named).await;
    assert_eq!(namespace["AutoCreateRepo"], false);
    assert_eq!(namespace["DefaultRepoType"], "PUBLIC");
    let configuration = json!({"RepoType": "PUBLIC", "TagImmutability": true});
    assert_eq!(namespace["DefaultRepoConfiguration"], configuration);
    let namespace_id = namespace["NamespaceId"].as_str().expect("an id");
    let by_id = [("InstanceId", id), ("NamespaceId", namespace_id)];
    assert_eq!(ok(&fixture, "GetNamespace", &by_id).await["NamespaceName"], "team-a");
    let update = [
        ("InstanceId", id),
        ("NamespaceName", "team-a"),
        ("DefaultRepoConfiguration.RepoType", "PRIVATE"),
        ("DefaultRepoConfiguration.ArtifactBuildRuleParameters.ImageIndexOnly", "false"),
    ];
    ok(&fixture, "UpdateNamespace", &update).await;
    let list = ok(&fixture, "ListNamespace", &[("InstanceId", id)]).await;
    assert_eq!(list["TotalCount"], "1");
    let configuration = &list["Namespaces"][0]["DefaultRepoConfiguration"];
    assert_eq!(configuration["RepoType"], "PRIVATE");
    assert_eq!(configuration["TagImmutability"], true);
    assert_eq!(configuration["ArtifactBuildRuleParameters"], json!({"ImageIndexOnly": false}));
    ok(&fixture, "DeleteNamespace", &named).await;
    assert_eq!(failure(&fixture, "GetNamespace", &named).await, "NAMESPACE_NOT_EXIST");
    assert_eq!(failure(&fixture, "DeleteNamespace", &named).await, "NAMESPACE_NOT_EXIST");
    for (name, code) in [("Bad", "InvalidNamespaceName"), ("", "MissingNamespaceName")] {
        let create = [("InstanceId", id), ("NamespaceName", name)];
        assert_eq!(refusal(&fixture, "CreateNamespace", &create).await, (400, code.to_owned()));
    }
}

#[tokio::test]
async fn repositories_and_tags() {
    let fixture = Fixture::new().await;
    let id = fixture.instance_id.as_str();
    ok(&fixture, "CreateNamespace", &[("InstanceId", id), ("NamespaceName", "ns")]).await;
    let create = |name| {
        [
            ("InstanceId", id),
            ("RepoNamespaceName", "ns"),
            ("RepoName", name),
            ("RepoType", "PRIVATE"),
            ("Summary", "中文 a*b~c+d/e&="),
        ]
    };
    let created = ok(&fixture, "CreateRepository", &create("app")).await;
    let repo_id = created["RepoId"].as_str().expect("an id");
    ok(&fixture, "CreateRepository", &create("tool")).await;
    assert_eq!(failure(&fixture, "CreateRepository", &create("app")).await, "REPO_ALREADY_EXIST");
    let by_id = [("InstanceId", id), ("RepoId", repo_id)];
    let by_name = [("InstanceId", id), ("RepoNamespaceName", "ns"), ("RepoName", "app")];
    let repository = ok(&fixture, "GetRepository", &by_id).await;
    assert_eq!(repository["Summary"], "中文 a*b~c+d/e&=");
    assert_eq!(ok(&fixture, "GetRepository", &by_name).await["RepoId"], repo_id);
    let update = [
        ("InstanceId", id),
        ("RepoId", repo_id),
        ("RepoType", "PUBLIC"),
        ("Summary", ""),
        ("Detail", "long"),
    ];
    ok(&fixture, "UpdateRepository", &update).await;
    let repository = ok(&fixture, "GetRepository", &by_id).await;
    assert_eq!(repository["RepoType"], "PUBLIC");
    assert_eq!((&repository["Summary"], &repository["Detail"]), (&json!(""), &json!("long")));
    let first = [("InstanceId", id), ("RepoStatus", "ALL"), ("MaxResults", "1")];
    let first = ok(&fixture, "ListRepository", &first).await;
    assert_eq!((&first["TotalCount"], &first["MaxResults"]), (&json!("2"), &json!(1)));
    let token = first["NextToken"].as_str().expect("a token");
    let second = [("InstanceId", id), ("NextToken", token)];
    let second = ok(&fixture, "ListRepository", &second).await;
    assert_eq!(second["Repositories"][0]["RepoName"], "tool");
    assert_eq!(second.get("NextToken"), None);

    let manifest = fixture.push(repo_id, "v1.0").await;
    let tags = ok(&fixture, "ListRepoTag", &by_id).await;
    assert_eq!(tags["TotalCount"], "1");
    assert_eq!(tags["Images"][0]["Digest"], manifest.digest.hex());
    assert_eq!(tags["Images"][0]["ImageId"], manifest.config.hex());
    assert!(tags["Images"][0]["ImageCreate"].is_string());
    let tagged = [("InstanceId", id), ("RepoId", repo_id), ("Tag", "v1.0")];
    let tag = ok(&fixture, "GetRepoTag", &tagged).await;
    assert_eq!(tag["ImageSize"], manifest.size);
    assert!(tag["ImageUpdate"].is_i64());
    ok(&fixture, "DeleteRepoTag", &tagged).await;
    assert_eq!(failure(&fixture, "GetRepoTag", &tagged).await, "REPO_TAG_NOT_EXIST");
    assert_eq!(failure(&fixture, "DeleteRepoTag", &tagged).await, "REPO_TAG_NOT_EXIST");

    ok(&fixture, "DeleteRepository", &by_name).await;
    for parameters in [&by_id[..], &by_name[..]] {
        assert_eq!(failure(&fixture, "GetRepository", parameters).await, "REPO_NOT_EXIST");
    }
    assert_eq!(failure(&fixture, "ListRepoTag", &by_id).await, "REPO_NOT_EXIST");
    for (parameters, code) in [
        (&[("RepoName", "app")][..], "MissingRepoNamespaceName"),
        (&[("RepoNamespaceName", "ns")][..], "MissingRepoName"),
        (&[][..], "MissingRepoId"),
    ] {
        let parameters = [&[("InstanceId", id)], parameters].concat();
        let refused = refusal(&fixture, "GetRepository", &parameters).await;
        assert_eq!(refused, (400, code.to_owned()));
    }
}

#[tokio::test]
async fn build_rules_and_tasks() {
    let fixture = Fixture::new().await;
    let id = fixture.instance_id.as_str();
    let repo_id = fixture.repository("ns", "app").await;
    let scope = [
        ("InstanceId", id),
        ("ArtifactType", "ACCELERATED_IMAGE"),
        ("ScopeType", "REPOSITORY"),
        ("ScopeId", &repo_id),
    ];
    let rule = [&scope[..], &[("Parameters", r#"{"Priority":"4"}"#)]].concat();
    let created = ok(&fixture, "CreateArtifactBuildRule", &rule).await;
    let refused = failure(&fixture, "CreateArtifactBuildRule", &rule).await;
    assert_eq!(refused, "BUILD_RULE_ALREADY_EXIST");
    let rule_id = created["BuildRuleId"].as_str().expect("an id");
    let by_id = [("InstanceId", id), ("BuildRuleId", rule_id)];
    for parameters in [&by_id[..], &scope[..]] {
        let rule = ok(&fixture, "GetArtifactBuildRule", parameters).await;
        assert_eq!(rule["BuildRuleId"], rule_id);
        assert_eq!(rule["Parameters"], json!({"ImageIndexOnly": false, "Priority": 4}));
    }
    let unknown = [("InstanceId", id), ("BuildRuleId", "crabr-x")];
    let refused = failure(&fixture, "GetArtifactBuildRule", &unknown).await;
    assert_eq!(refused, "BUILD_RULE_NOT_EXIST");

    fixture.push(&repo_id, "v1.0").await;
    let listed = ok(&fixture, "ListArtifactBuildTask", &[("InstanceId", id)]).await;
    assert_eq!(listed["TotalCount"], 1);
    let task_id = listed["BuildTasks"][0]["BuildTaskId"].as_str().expect("an id");
    assert!(task_id.starts_with("i2a-"));
    let named = [("InstanceId", id), ("BuildTaskId", task_id)];
    let task = ok(&fixture, "GetArtifactBuildTask", &named).await;
    assert_eq!(task["TaskStatus"], "PENDING");
    assert_eq!(task["Priority"], 4);
    assert_eq!(task["Instructions"], json!([]));
    assert_eq!((task.get("StartTime"), task.get("EndTime")), (None, None));
    assert_eq!(task["SourceArtifact"]["Version"], "v1.0");
    assert_eq!(task["TargetArtifact"]["Version"], "v1.0_accelerated");
    assert_eq!(task["TargetArtifact"]["RepoId"], repo_id.as_str());
    let again = [("InstanceId", id), ("RepoId", repo_id.as_str()), ("Tag", "v1.0")];
    for (priority, shown) in [("2", 4), ("5", 5)] {
        let again = [&again[..], &[("Priority", priority)]].concat();
        let again = ok(&fixture, "CreateArtifactBuildTask", &again).await;
        assert_eq!(again["BuildTaskId"], task_id, "an equal build is waiting");
        let task = ok(&fixture, "GetArtifactBuildTask", &named).await;
        assert_eq!(task["Priority"], shown, "the higher one of the two");
    }
    ok(&fixture, "CancelArtifactBuildTask", &named).await;
    let task = ok(&fixture, "GetArtifactBuildTask", &named).await;
    assert_eq!((&task["TaskStatus"], &task["Canceled"]), (&json!("FAILED"), &json!(true)));
    let end = task["EndTime"].as_i64().expect("a time");
    assert_eq!(end, fixture.now() / 1000, "seconds");
    let refused = failure(&fixture, "CancelArtifactBuildTask", &named).await;
    assert_eq!(refused, "BUILD_TASK_FINISHED");
    let log = [&named[..], &[("Page", "1"), ("PageSize", "500")]].concat();
    let log = ok(&fixture, "ListArtifactBuildTaskLog", &log).await;
    let lines = log["BuildTaskLogs"].as_array().expect("lines");
    assert_eq!(log["TotalCount"], lines.len());
    assert_eq!(refusal(&fixture, "ListArtifactBuildTaskLog", &named).await.1, "MissingPage");
    let failed = [("InstanceId", id), ("TaskStatus", "FAILED")];
    assert_eq!(ok(&fixture, "ListArtifactBuildTask", &failed).await["TotalCount"], 1);
    for action in ["GetArtifactBuildTask", "CancelArtifactBuildTask"] {
        let unknown = [("InstanceId", id), ("BuildTaskId", "i2a-x")];
        assert_eq!(failure(&fixture, action, &unknown).await, "BUILD_TASK_NOT_EXIST");
    }
}

#[tokio::test]
async fn subscription_rules_and_tasks() {
    let fixture = Fixture::new().await;
    let id = fixture.instance_id.as_str();
    fixture.repository("ns", "app").await;
    let create = [
        ("InstanceId", id),
        ("NamespaceName", "ns"),
        ("RepoName", "app"),
        ("SourceProvider", "DOCKER_HUB"),
        ("SourceRepoName", "nginx"),
        ("Platform.2", "linux/arm64"),
        ("Platform.1", "linux/amd64"),
        ("TagRegexp", "^v1+.*$"),
        ("TagCount", "5"),
        ("Override", "True"),
    ];
    let created = ok(&fixture, "CreateArtifactSubscriptionRule", &create).await;
    let rule_id = created["RuleId"].as_str().expect("an id");
    let named = [("InstanceId", id), ("RuleId", rule_id)];
    let rule = ok(&fixture, "GetArtifactSubscriptionRule", &named).await;
    assert_eq!(rule["Platform"], json!(["linux/amd64", "linux/arm64"]));
    assert_eq!(rule["TagRegexp"], "^v1+.*$");
    assert_eq!(rule["SourceNamespaceName"], "library");
    assert_eq!((&rule["Override"], &rule["Accelerate"]), (&json!(true), &json!(false)));
    let update = [&named[..], &[("TagCount", "3"), ("Override", "false")]].concat();
    ok(&fixture, "UpdateArtifactSubscriptionRule", &update).await;
    let list = ok(&fixture, "ListArtifactSubscriptionRule", &[("InstanceId", id)]).await;
    assert_eq!((&list["TotalCount"], &list["Rules"][0]["TagCount"]), (&json!(1), &json!(3)));
    assert_eq!(list["Rules"][0]["Override"], false);

    let task = ok(&fixture, "CreateArtifactSubscriptionTask", &named).await;
    let task_id = task["TaskId"].as_str().expect("an id");
    let run = [("InstanceId", id), ("TaskId", task_id)];
    let task = ok(&fixture, "GetArtifactSubscriptionTask", &run).await;
    assert_eq!((&task["TaskStatus"], &task["TaskType"]), (&json!("PENDING"), &json!("MANUAL")));
    assert_eq!((task.get("TaskResult"), task.get("EndTime")), (None, None));
    let results = ok(&fixture, "GetArtifactSubscriptionTaskResult", &run).await;
    assert_eq!((&results["TaskResults"], &results["TotalCount"]), (&json!([]), &json!(0)));
    ok(&fixture, "CancelArtifactSubscriptionTask", &run).await;
    let task = ok(&fixture, "GetArtifactSubscriptionTask", &run).await;
    assert_eq!((&task["TaskStatus"], &task["TaskResult"]), (&json!("COMPLETED"), &json!("FAILED")));
    assert!(task["EndTime"].is_i64());
    let tasks = ok(&fixture, "ListArtifactSubscriptionTask", &[("InstanceId", id)]).await;
    assert!(tasks["Tasks"][0]["EndTime"].is_string());
    let refused = failure(&fixture, "CancelArtifactSubscriptionTask", &run).await;
    assert_eq!(refused, "SUBSCRIPTION_TASK_FINISHED");
    let log = [&run[..], &[("Page", "1"), ("PageSize", "10")]].concat();
    ok(&fixture, "ListArtifactSubscriptionTaskLog", &log).await;

    ok(&fixture, "DeleteArtifactSubscriptionRule", &named).await;
    // Clients of ACR take the empty id for the absence of the rule.
    assert_eq!(ok(&fixture, "GetArtifactSubscriptionRule", &named).await["RuleId"], "");
    for action in [
        "UpdateArtifactSubscriptionRule",
        "DeleteArtifactSubscriptionRule",
        "CreateArtifactSubscriptionTask",
    ] {
        assert_eq!(failure(&fixture, action, &named).await, "SUBSCRIPTION_RULE_NOT_EXIST");
    }
    let missing = refusal(&fixture, "CreateArtifactSubscriptionRule", &create[..5]).await;
    assert_eq!(missing, (400, "MissingPlatform".to_owned()));
    let unknown = [("InstanceId", id), ("TaskId", "crast-x")];
    let refused = failure(&fixture, "GetArtifactSubscriptionTask", &unknown).await;
    assert_eq!(refused, "SUBSCRIPTION_TASK_NOT_EXIST");
}

#[tokio::test]
async fn maintenance_tasks() {
    let fixture = Fixture::new().await;
    let id = fixture.instance_id.as_str();
    let create = |kind| [("InstanceId", id), ("Kind", kind)];
    let made = ok(&fixture, "CreateMaintenanceTask", &create("GC")).await;
    let task_id = made["TaskId"].as_str().expect("an id");
    let again = ok(&fixture, "CreateMaintenanceTask", &create("GC")).await;
    assert_eq!(again["TaskId"], task_id, "one of a kind at a time");
    ok(&fixture, "CreateMaintenanceTask", &create("SCRUB")).await;
    let wrong = refusal(&fixture, "CreateMaintenanceTask", &create("gc")).await;
    assert_eq!(wrong, (400, "InvalidKind".to_owned()));
    let named = [("InstanceId", id), ("TaskId", task_id)];
    let task = ok(&fixture, "GetMaintenanceTask", &named).await;
    assert_eq!((&task["Kind"], &task["TaskStatus"]), (&json!("GC"), &json!("PENDING")));
    let all = ok(&fixture, "ListMaintenanceTask", &[("InstanceId", id)]).await;
    assert_eq!(all["TotalCount"], 2);
    let listed = ok(&fixture, "ListMaintenanceTask", &create("GC")).await;
    assert_eq!(listed["Tasks"][0]["TaskId"], task_id);
    ok(&fixture, "CancelMaintenanceTask", &named).await;
    let task = ok(&fixture, "GetMaintenanceTask", &named).await;
    assert_eq!((&task["TaskStatus"], &task["Canceled"]), (&json!("FAILED"), &json!(true)));
    let log = ok(&fixture, "ListMaintenanceTaskLog", &named).await;
    assert_eq!((&log["TotalCount"], &log["TaskLogs"][0]["LineNumber"]), (&json!(1), &json!(1)));
    let refused = failure(&fixture, "CancelMaintenanceTask", &named).await;
    assert_eq!(refused, "MAINTENANCE_TASK_FINISHED");
    let unknown = [("InstanceId", id), ("TaskId", "x")];
    for action in ["GetMaintenanceTask", "ListMaintenanceTaskLog", "CancelMaintenanceTask"] {
        assert_eq!(failure(&fixture, action, &unknown).await, "MAINTENANCE_TASK_NOT_EXIST");
    }
}

#[tokio::test]
async fn maintenance_works_on_the_instance_unless_it_is_the_servers() {
    let fixture = Fixture::new().await;
    let id = fixture.instance_id.as_str();
    let create = [("InstanceId", id), ("Kind", "GC")];
    let of_server = [("InstanceId", id), ("Kind", "GC"), ("Scope", "SERVER")];
    let instance = ok(&fixture, "CreateMaintenanceTask", &create).await;
    let server = ok(&fixture, "CreateMaintenanceTask", &of_server).await;
    assert_ne!(instance["TaskId"], server["TaskId"]);
    let same = [("InstanceId", id), ("Kind", "GC"), ("Scope", "INSTANCE")];
    let again = ok(&fixture, "CreateMaintenanceTask", &same).await;
    assert_eq!(again["TaskId"], instance["TaskId"]);
    let wrong = [("InstanceId", id), ("Kind", "GC"), ("Scope", "server")];
    let wrong = refusal(&fixture, "CreateMaintenanceTask", &wrong).await;
    assert_eq!(wrong, (400, "InvalidScope".to_owned()));

    // The server's tasks are not the instance's.
    let listed = ok(&fixture, "ListMaintenanceTask", &create).await;
    assert_eq!(
        (&listed["TotalCount"], &listed["Tasks"][0]["TaskId"]),
        (&json!(1), &instance["TaskId"])
    );
    assert_eq!(ok(&fixture, "ListMaintenanceTask", &of_server).await["TotalCount"], 2);
    let task_id = server["TaskId"].as_str().expect("an id");
    let named = [("InstanceId", id), ("TaskId", task_id)];
    for action in ["GetMaintenanceTask", "ListMaintenanceTaskLog", "CancelMaintenanceTask"] {
        assert_eq!(failure(&fixture, action, &named).await, "MAINTENANCE_TASK_NOT_EXIST");
        ok(&fixture, action, &[named[0], named[1], ("Scope", "SERVER")]).await;
    }
}

#[tokio::test]
async fn the_policy_of_the_untagged() {
    let fixture = Fixture::new().await;
    let id = fixture.instance_id.as_str();
    let repo_id = fixture.repository("ns", "app").await;
    let named = [("InstanceId", id), ("RepoId", repo_id.as_str())];
    let change = async |days| {
        let days = [("RepoType", "PRIVATE"), ("Summary", "s"), ("UntaggedRetentionDays", days)];
        fixture.call("UpdateRepository", &[&named[..], &days[..]].concat()).await
    };
    let shown = async || {
        let answer = ok(&fixture, "GetRepository", &named).await;
        answer.get("UntaggedRetentionDays").cloned()
    };
    assert_eq!(shown().await, None);
    assert_eq!(change("14").await.body["IsSuccess"], true);
    assert_eq!(shown().await, Some(json!(14)));
    assert_eq!(change("-1").await.body["IsSuccess"], true);
    assert_eq!(shown().await, None);
    for wrong in ["-2", "36501"] {
        assert_eq!(change(wrong).await.body["Code"], "InvalidUntaggedRetentionDays");
    }
    let parameters = [
        ("InstanceId", id),
        ("RepoNamespaceName", "ns"),
        ("RepoName", "other"),
        ("RepoType", "PRIVATE"),
        ("Summary", ""),
        ("UntaggedRetentionDays", "0"),
    ];
    let made = ok(&fixture, "CreateRepository", &parameters).await;
    let named = [("InstanceId", id), ("RepoId", made["RepoId"].as_str().expect("an id"))];
    assert_eq!(ok(&fixture, "GetRepository", &named).await["UntaggedRetentionDays"], 0);
}

#[tokio::test]
async fn every_operation_of_a_foreign_instance_says_so() {
    let fixture = Fixture::new().await;
    for operation in berth_control::operations() {
        let parameters: Vec<(&str, &str)> = operation
            .request
            .iter()
            .filter(|field| field.required || field.name == "RepoId")
            .map(|field| match (field.name, field.kind) {
                ("InstanceId", _) => ("InstanceId", "cri-foreign"),
                (name, berth_control::Kind::Integer) => (name, "1"),
                (name, _) => (name, "x"),
            })
            .collect();
        if operation.name == "ListInstance" {
            continue;
        }
        let code = failure(&fixture, operation.name, &parameters).await;
        assert_eq!(code, "INSTANCE_NOT_EXIST", "{}", operation.name);
    }
}

#[tokio::test]
async fn ids_of_objects_do_not_cross_repositories() {
    let fixture = Fixture::new().await;
    let id = fixture.instance_id.as_str();
    let tagged = [("InstanceId", id), ("RepoId", "crr-foreign"), ("Tag", "v1")];
    for action in ["GetRepoTag", "DeleteRepoTag", "CreateArtifactBuildTask"] {
        assert_eq!(failure(&fixture, action, &tagged).await, "REPO_NOT_EXIST", "{action}");
    }
}
