//! Whoever has recorded a signed request cannot send it again.

use berth_testkit::postgres::fresh_database;
use berth_testkit::server::TestServer;
use serde_json::Value;

/// Sends a recorded request, and returns the code of the answer.
fn send(url: &str) -> String {
    let http = reqwest::blocking::Client::builder().no_proxy().build().expect("a client");
    let answer = http.get(url).send().expect("the server answers");
    let body: Value = serde_json::from_str(&answer.text().expect("a body")).expect("JSON");
    body["Code"].as_str().expect("a code").to_owned()
}

#[test]
fn a_recorded_request_is_refused_after_a_restart_and_after_a_crash() {
    let mut server = TestServer::start();
    let recorded = server.api().signed_url("ListInstance", &[]);
    assert_eq!(send(&recorded), "success");
    assert_eq!(send(&recorded), "SignatureNonceUsed");
    assert!(server.stop().success());
    server.restart();
    assert_eq!(send(&recorded), "SignatureNonceUsed");
    let another = server.api().signed_url("ListInstance", &[]);
    assert_eq!(send(&another), "success");
    server.kill9();
    server.restart();
    for recorded in [&recorded, &another] {
        assert_eq!(send(recorded), "SignatureNonceUsed");
    }
    assert_eq!(send(&server.api().signed_url("ListInstance", &[])), "success");
}

#[test]
fn a_recorded_request_is_refused_by_a_second_server_on_the_same_postgresql() {
    let shared = tempfile::tempdir().expect("a temporary folder");
    let folder = shared.path().display();
    let config = format!(
        "[server]\nmaster_key_file = \"{folder}/master.key\"\n\
         [database]\nurl = \"{}\"\n[storage]\nurl = \"file:{folder}/blobs\"\n",
        fresh_database()
    );
    let first = TestServer::start_configured(&config);
    let second = TestServer::start_configured(&config);
    let recorded = first.api().signed_url("ListInstance", &[]);
    assert_eq!(send(&recorded), "success");
    let elsewhere = recorded.replacen(&first.url(), &second.url(), 1);
    assert_ne!(elsewhere, recorded);
    assert_eq!(send(&elsewhere), "SignatureNonceUsed");
    assert_eq!(send(&second.api().signed_url("ListInstance", &[])), "success");
}
