//! Whoever must not be served gets the documented error, through both SDKs and both signatures.

use berth_testkit::server::TestServer;
use berth_tests::sdk;
use serde_json::json;

#[test]
fn refusals_have_their_documented_codes() {
    let server = TestServer::start();
    let outcomes = sdk::json(&server, "refusals.py", &[]);
    let code = |name: &str| outcomes[name][0].clone();
    for sdk in ["new", "old"] {
        assert_eq!(code(&format!("{sdk} accepted")), json!("success"), "{outcomes}");
        assert_eq!(
            code(&format!("{sdk} unknown key")),
            json!("InvalidAccessKeyId.NotFound"),
            "{outcomes}"
        );
        assert_eq!(
            code(&format!("{sdk} expired date")),
            json!("InvalidTimeStamp.Expired"),
            "{outcomes}"
        );
        assert_eq!(code(&format!("{sdk} first use of a nonce")), json!("success"), "{outcomes}");
        assert_eq!(
            code(&format!("{sdk} replayed nonce")),
            json!("SignatureNonceUsed"),
            "{outcomes}"
        );
        assert_eq!(
            code(&format!("{sdk} foreign instance")),
            json!("INSTANCE_NOT_EXIST"),
            "{outcomes}"
        );
    }
    assert_eq!(code("new wrong secret"), json!("SignatureDoesNotMatch"), "{outcomes}");
    // The previous SDK compares what was signed and, when only the secret can be at fault, says so.
    assert_eq!(code("old wrong secret"), json!("InvalidAccessKeySecret"), "{outcomes}");
    for name in ["new unknown key", "old unknown key"] {
        assert_eq!(outcomes[name][1], json!(404), "{outcomes}");
    }
}

#[test]
fn an_unsigned_request_is_refused_without_a_trace_of_the_instance() {
    let server = TestServer::start();
    let answer = server
        .registry()
        .request("GET", "/?Action=ListInstance&Version=2018-12-01&Format=JSON")
        .send()
        .expect("the server answers");
    assert_eq!(answer.status().as_u16() / 100, 4);
    let body = answer.text().expect("a body");
    assert!(!body.contains(&server.credentials().instance_id), "{body}");
}
