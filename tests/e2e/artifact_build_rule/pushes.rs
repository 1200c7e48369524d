//! A rule that the SDK makes, and what a push does then.

use berth_testkit::image::{Image, Layout};
use berth_testkit::server::TestServer;
use berth_tests::{build, sdk, skopeo};
use serde_json::json;

#[test]
fn a_push_is_built_once_there_is_a_rule() {
    let server = TestServer::start();
    let repo_id = build::repository(&server, "team", "app");
    let mut layout = Layout::create(&server.scratch().join("source"));
    layout.add_tagged("before", &Image::tiny("before"));
    layout.add_tagged("after", &Image::tiny("after"));
    skopeo::push(&server, layout.folder(), "before", "team/app:before");
    assert!(build::tasks(&server, &repo_id).is_empty(), "nothing asks for a build");

    let scope = json!({
        "ArtifactType": "ACCELERATED_IMAGE", "ScopeType": "REPOSITORY", "ScopeId": repo_id,
    });
    let bodies = sdk::call(
        &server,
        &[
            ("CreateArtifactBuildRule", scope.clone()),
            ("CreateArtifactBuildRule", scope.clone()),
            ("GetArtifactBuildRule", scope),
        ],
    );
    assert_eq!(bodies[0]["IsSuccess"], true, "{}", bodies[0]);
    assert_eq!(bodies[1]["Code"], "BUILD_RULE_ALREADY_EXIST", "{}", bodies[1]);
    assert_eq!(bodies[2]["BuildRuleId"], bodies[0]["BuildRuleId"]);
    skopeo::push(&server, layout.folder(), "after", "team/app:after");
    build::wait_success(&server, &build::task_of_tag(&server, &repo_id, "after"));
    let registry = server.registry();
    assert!(registry.manifest("team/app", "after_accelerated").is_some());
    assert!(registry.manifest("team/app", "before_accelerated").is_none());
}
