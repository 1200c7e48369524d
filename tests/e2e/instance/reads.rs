//! What an instance says of itself.

use berth_testkit::server::TestServer;
use berth_tests::sdk;
use serde_json::json;

#[test]
fn the_sdk_finds_its_instance_running() {
    let server = TestServer::start();
    let id = server.credentials().instance_id.as_str();
    let bodies = sdk::call(
        &server,
        &[
            ("GetInstance", json!({})),
            ("ListInstance", json!({"InstanceStatus": "RUNNING"})),
            ("ListInstance", json!({"InstanceName": "another"})),
            ("GetInstance", json!({"InstanceId": "cri-nowhere"})),
        ],
    );
    assert_eq!(
        (&bodies[0]["InstanceId"], &bodies[0]["InstanceStatus"]),
        (&id.into(), &"RUNNING".into())
    );
    assert_eq!(
        (&bodies[1]["TotalCount"], &bodies[1]["Instances"][0]["InstanceId"]),
        (&1.into(), &id.into())
    );
    assert_eq!(bodies[2]["TotalCount"], 0, "{}", bodies[2]);
    assert_eq!(bodies[3]["Code"], "INSTANCE_NOT_EXIST", "{}", bodies[3]);
}
