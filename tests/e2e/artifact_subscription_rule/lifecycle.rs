//! A rule from birth to death, through the SDK.

use berth_testkit::server::TestServer;
use berth_tests::{build, sdk};
use serde_json::json;

#[test]
fn a_rule_is_made_changed_and_deleted() {
    let server = TestServer::start();
    let _ = build::repository(&server, "team", "app");
    let rule = json!({
        "NamespaceName": "team", "RepoName": "app", "SourceProvider": "QUAY",
        "SourceNamespaceName": "source", "SourceRepoName": "app", "TagRegexp": "v.*",
        "TagCount": 5, "Platform": ["linux/amd64", "linux/arm64"], "Override": true,
    });
    let mut wrong = rule.clone();
    wrong["TagRegexp"] = "(".into();
    let made = sdk::call(
        &server,
        &[("CreateArtifactSubscriptionRule", rule), ("CreateArtifactSubscriptionRule", wrong)],
    );
    let id = made[0]["RuleId"].as_str().unwrap_or_else(|| panic!("{}", made[0]));
    assert_eq!(made[1]["raised"], "InvalidTagRegexp", "{}", made[1]);
    let named = json!({"RuleId": id});
    let bodies = sdk::call(
        &server,
        &[
            ("UpdateArtifactSubscriptionRule", json!({"RuleId": id, "TagCount": 7})),
            ("GetArtifactSubscriptionRule", named.clone()),
            ("ListArtifactSubscriptionRule", json!({})),
            ("DeleteArtifactSubscriptionRule", named.clone()),
            ("ListArtifactSubscriptionRule", json!({})),
            ("DeleteArtifactSubscriptionRule", named),
        ],
    );
    assert_eq!(bodies[0]["IsSuccess"], true, "{}", bodies[0]);
    assert_eq!((&bodies[1]["TagCount"], &bodies[1]["TagRegexp"]), (&7.into(), &"v.*".into()));
    assert_eq!(bodies[1]["Platform"], json!(["linux/amd64", "linux/arm64"]));
    assert_eq!(
        (&bodies[2]["TotalCount"], &bodies[2]["Rules"][0]["RuleId"]),
        (&1.into(), &id.into())
    );
    assert_eq!(bodies[3]["IsSuccess"], true, "{}", bodies[3]);
    assert_eq!(bodies[4]["TotalCount"], 0);
    assert_eq!(bodies[5]["Code"], "SUBSCRIPTION_RULE_NOT_EXIST", "{}", bodies[5]);
}
