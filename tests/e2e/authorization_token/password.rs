//! A temporary password, from the SDK to the client that uses it.

use std::time::{SystemTime, UNIX_EPOCH};

use berth_testkit::image::{Image, Layout};
use berth_testkit::process::{run, run_failing};
use berth_testkit::server::TestServer;
use berth_tests::{sdk, skopeo};
use serde_json::json;

#[test]
fn a_temporary_password_pushes_until_it_ends() {
    let server = TestServer::start();
    let issued = sdk::call(&server, &[("GetAuthorizationToken", json!({}))]).remove(0);
    let text = |name: &str| issued[name].as_str().unwrap_or_else(|| panic!("{name}: {issued}"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis();
    let ends = issued["ExpireTime"].as_i64().expect("a time");
    let left = i128::from(ends) - i128::try_from(now).expect("a time");
    assert!((3_500_000..=3_600_000).contains(&left), "an hour: {left}");

    let mut layout = Layout::create(&server.scratch().join("source"));
    layout.add_tagged("v1", &Image::tiny("content"));
    let push = |password: &str| {
        let user = format!("{}:{password}", text("TempUsername"));
        let (from, to) = (
            skopeo::local(layout.folder(), "v1"),
            format!("docker://{}/team/app:v1", server.host()),
        );
        let mut command = skopeo::copy();
        command.args(["--dest-tls-verify=false", "--dest-creds", &user, &from, &to]);
        command
    };
    let refused = run_failing(&mut push("wrong"));
    assert!(refused.contains("unauthorized"), "{refused}");
    run(&mut push(text("AuthorizationToken")));
    assert!(server.registry().manifest("team/app", "v1").is_some());
}
