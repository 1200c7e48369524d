//! PostgreSQL is stopped, or hangs: clients are told soon and in words that they know, and everything
//! works again when it is back.

use berth_testkit::postgres::PostgresServer;
use berth_testkit::process::wait_until;
use berth_testkit::server::TestServer;
use berth_tests::source;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Clients of the API give up after ten seconds.
const SOON: Duration = Duration::from_secs(5);

/// Asks for what no memory knows, on both planes; each answer has to be 503, soon.
fn all_are_told(server: &TestServer) {
    let registry = server.registry();
    let asked: [(&str, String); 3] = [
        ("POST", "/v2/away/app/blobs/uploads/".to_owned()),
        ("GET", "/v2/away/other/tags/list".to_owned()),
        ("HEAD", format!("/v2/away/other/manifests/sha256:{}", "0".repeat(64))),
    ];
    for (method, path) in asked {
        let begin = Instant::now();
        let answer = registry.request(method, &path).body("").send().expect("an answer");
        assert!(begin.elapsed() < SOON, "{method} {path} after {:?}", begin.elapsed());
        assert_eq!(answer.status().as_u16(), 503, "{method} {path}");
        assert!(answer.headers().contains_key("retry-after"), "{method} {path}: {answer:?}");
        let body = answer.text().expect("a body");
        assert!(method == "HEAD" || body.contains("\"UNAVAILABLE\""), "{body}");
    }
    let begin = Instant::now();
    let instance = &server.credentials().instance_id;
    let parameters = [("InstanceId", &**instance), ("NamespaceName", "away-not")];
    let answer = server.api().try_call("CreateNamespace", &parameters).expect("an answer");
    assert!(begin.elapsed() < SOON, "the API after {:?}", begin.elapsed());
    assert_eq!((answer.status, &answer.body["Code"]), (503, &Value::from("ServiceUnavailable")));
    let begin = Instant::now();
    let answer = registry.request("GET", "/readyz").send().expect("an answer");
    assert!(begin.elapsed() < SOON + Duration::from_secs(1));
    assert_eq!(answer.status().as_u16(), 503);
    let body = answer.text().expect("a body");
    assert!(body.contains("\"database\":\"unavailable\""), "{body}");
}

#[test]
fn a_postgres_that_is_away_is_503_within_five_seconds() {
    let mut postgres = PostgresServer::start();
    let server = TestServer::start_with(&format!("[database]\nurl = \"{}\"\n", postgres.url()));
    let registry = server.registry();
    let mut kept =
        vec![registry.push_blob("away/app", &source::random_bytes(1000)).expect("pushed")];
    for freeze in [false, true] {
        if freeze {
            postgres.freeze();
        } else {
            postgres.stop();
        }
        all_are_told(&server);
        if freeze {
            postgres.thaw();
        } else {
            postgres.resume();
        }
        wait_until("readiness", SOON, || {
            let answer = registry.request("GET", "/readyz").send().expect("an answer");
            answer.status().as_u16() == 200
        });
        kept.push(registry.push_blob("away/app", &source::random_bytes(1000)).expect("pushed"));
        for digest in &kept {
            assert!(registry.blob("away/app", digest).is_some(), "{digest} is lost");
        }
    }
}
