//! Tags as the SDK lists them, and what is left of one that is deleted.

use berth_testkit::image::{Image, Layout};
use berth_testkit::server::TestServer;
use berth_tests::{build, sdk, skopeo};
use serde_json::{Value, json};

#[test]
fn a_deleted_tag_leaves_its_image() {
    let server = TestServer::start();
    let repo_id = build::repository(&server, "team", "app");
    let mut layout = Layout::create(&server.scratch().join("source"));
    let mut digests = Vec::new();
    for tag in ["v1", "v2", "v3"] {
        digests.push(layout.add_tagged(tag, &Image::tiny(tag)).digest);
        skopeo::push(&server, layout.folder(), tag, &format!("team/app:{tag}"));
    }
    let page =
        |number: i64| ("ListRepoTag", json!({"RepoId": repo_id, "PageNo": number, "PageSize": 2}));
    let v2 = json!({"RepoId": repo_id, "Tag": "v2"});
    let bodies = sdk::call(
        &server,
        &[
            page(1),
            page(2),
            ("GetRepoTag", v2.clone()),
            ("DeleteRepoTag", v2.clone()),
            page(1),
            ("GetRepoTag", v2),
        ],
    );
    let names = |body: &Value| -> Vec<String> {
        let rows = body["Images"].as_array().cloned().unwrap_or_default();
        rows.iter().filter_map(|row| row["Tag"].as_str().map(str::to_owned)).collect()
    };
    // Last pushed first.
    assert_eq!(
        (names(&bodies[0]), names(&bodies[1])),
        (vec!["v3".into(), "v2".into()], vec!["v1".into()])
    );
    assert_eq!(bodies[0]["TotalCount"], "3");
    assert_eq!(format!("sha256:{}", bodies[2]["Digest"].as_str().expect("a digest")), digests[1]);
    assert_eq!(bodies[3]["IsSuccess"], true, "{}", bodies[3]);
    assert_eq!(
        (names(&bodies[4]), &bodies[4]["TotalCount"]),
        (vec!["v3".into(), "v1".into()], &"2".into())
    );
    assert_eq!(bodies[5]["Code"], "REPO_TAG_NOT_EXIST", "{}", bodies[5]);
    let registry = server.registry();
    assert!(registry.manifest("team/app", "v2").is_none());
    assert!(registry.manifest("team/app", &digests[1]).is_some(), "by digest it is there");
}
