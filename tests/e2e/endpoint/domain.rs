//! The host that an endpoint names is one that the data plane answers on.

use berth_testkit::image::{Image, Layout};
use berth_testkit::process::run;
use berth_testkit::server::TestServer;
use berth_tests::{sdk, skopeo};
use serde_json::json;

#[test]
fn images_are_pushed_to_the_domain_of_the_endpoint() {
    let server = TestServer::start();
    let bodies = sdk::call(
        &server,
        &[
            ("GetInstanceEndpoint", json!({"EndpointType": "internet", "ModuleName": "Registry"})),
            ("ListInstanceEndpoint", json!({})),
        ],
    );
    assert_eq!(bodies[0]["Enable"], true, "{}", bodies[0]);
    let domain = bodies[0]["Domains"][0]["Domain"].as_str().expect("a domain");
    let listed = &bodies[1]["Endpoints"][0];
    assert_eq!(listed["EndpointType"], "internet", "{}", bodies[1]);
    assert_eq!(listed["Domains"], bodies[0]["Domains"]);

    let mut layout = Layout::create(&server.scratch().join("source"));
    let image = layout.add_tagged("v1", &Image::tiny("content"));
    let to = format!("docker://{domain}/team/app:v1");
    let from = skopeo::local(layout.folder(), "v1");
    let user = server.user_and_password();
    run(skopeo::copy().args(["--dest-tls-verify=false", "--dest-creds", &user, &from, &to]));
    let pushed = server.registry().manifest("team/app", "v1").expect("the tag");
    assert_eq!(pushed.digest, image.digest);
}
