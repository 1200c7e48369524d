//! A namespace from birth to death, with repositories that pushes make.

use berth_testkit::server::TestServer;
use berth_tests::sdk;
use serde_json::json;

#[test]
fn pushes_make_repositories_while_the_namespace_lets_them() {
    let server = TestServer::start();
    let name = json!({"NamespaceName": "team"});
    let bodies = sdk::call(
        &server,
        &[
            (
                "CreateNamespace",
                json!({"NamespaceName": "team", "AutoCreateRepo": true, "DefaultRepoType": "PUBLIC"}),
            ),
            ("CreateNamespace", name.clone()),
            ("ListNamespace", json!({})),
        ],
    );
    assert_eq!(bodies[0]["IsSuccess"], true, "{}", bodies[0]);
    assert_eq!(bodies[1]["Code"], "NAMESPACE_ALREADY_EXIST", "{}", bodies[1]);
    assert_eq!(bodies[2]["Namespaces"][0]["NamespaceName"], "team", "{}", bodies[2]);

    let registry = server.registry();
    let digest = registry.push_blob("team/made-by-a-push", b"content").expect("a push");
    let made = json!({"RepoNamespaceName": "team", "RepoName": "made-by-a-push"});
    let bodies = sdk::call(
        &server,
        &[
            ("GetRepository", made),
            ("UpdateNamespace", json!({"NamespaceName": "team", "AutoCreateRepo": false})),
        ],
    );
    assert_eq!(bodies[0]["RepoType"], "PUBLIC", "as the namespace has it: {}", bodies[0]);
    assert_eq!(bodies[1]["IsSuccess"], true, "{}", bodies[1]);
    let refused = registry.push_blob("team/another", b"content").expect_err("it is closed");
    assert!(refused.to_string().contains("status: 404"), "{refused}");

    let bodies = sdk::call(&server, &[("DeleteNamespace", name.clone()), ("GetNamespace", name)]);
    assert_eq!(bodies[0]["IsSuccess"], true, "{}", bodies[0]);
    assert_eq!(bodies[1]["Code"], "NAMESPACE_NOT_EXIST", "{}", bodies[1]);
    assert!(registry.blob("team/made-by-a-push", &digest).is_none());
}
