//! A text that the database could not keep is the caller's mistake, whichever way it comes in.

use berth_testkit::postgres::fresh_database;
use berth_testkit::server::TestServer;
use serde_json::json;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn refused(server: &TestServer) {
    let api = server.api();
    for (action, parameters) in [
        ("CreateNamespace", [("NamespaceName", "a\0b"), ("X", "")]),
        ("GetNamespace", [("NamespaceName", "a\0b"), ("X", "")]),
        ("GetArtifactBuildTask", [("BuildTaskId", "i2a-\0"), ("X", "")]),
        ("ListNamespace", [("NamespaceName", "\0"), ("NamespaceStatus", "\0")]),
        ("ListRepository", [("RepoName", "a\0"), ("X", "")]),
        ("GetRepository", [("RepoNamespaceName", "a\0"), ("RepoName", "b")]),
        ("CreateArtifactBuildRule", [("ScopeId", "a\0"), ("Parameters", "{\"a\":\"\\u0000\"}")]),
        ("ListInstance", [("any\0name", "x"), ("X", "")]),
    ] {
        let instance = [("InstanceId", server.credentials().instance_id.as_str())];
        let parameters: Vec<_> = instance.into_iter().chain(parameters).collect();
        let answer = api.try_call(action, &parameters).expect("an answer");
        assert_eq!(answer.status, 400, "{action} {parameters:?} {}", answer.body);
    }
    let answer = api.try_call("GetInstance", &[("InstanceId", "cri-\0")]).expect("an answer");
    assert_eq!(answer.status, 400, "{}", answer.body);

    let registry = server.registry();
    for (method, path, body, expected) in [
        ("GET", "/v2/a%00b/app/tags/list", "", 400),
        ("GET", "/v2/team/app/tags/list?last=%00", "", 400),
        ("GET", "/v2/team/app/manifests/v%00", "", 400),
        ("POST", "/v2/team/app/blobs/uploads/?mount=%00&from=team/b", "", 400),
        ("PATCH", "/v2/team/app/blobs/uploads/%00", "", 400),
        ("GET", "/auth/token?scope=repository:a%00:pull", "", 400),
        ("POST", "/auth/token", "grant_type=password&username=a%00b&password=x", 400),
        ("POST", "/auth/token", "grant_type=refresh_token&refresh_token=%00", 400),
    ] {
        let answer = registry.request(method, path).body(body).send().expect("an answer");
        let status = answer.status().as_u16();
        let text = answer.text().expect("a body");
        assert_eq!(status, expected, "{method} {path} {body}: {text}");
    }
    let http = reqwest::blocking::Client::builder().no_proxy().build().expect("a client");
    let login = http.get(format!("{}/v2/", server.url())).basic_auth("a\0b", Some("c\0d"));
    assert_eq!(login.send().expect("an answer").status().as_u16(), 401);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": "application/a\0b",
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "size": 2,
        },
        "layers": [],
    });
    let put = registry.request("PUT", "/v2/team/app/manifests/v1");
    let put = put.header("content-type", MANIFEST).body(manifest.to_string());
    let answer = put.send().expect("an answer");
    assert_eq!(answer.status().as_u16(), 400, "{}", answer.text().expect("a body"));
}

#[test]
fn a_nul_character_is_refused_on_sqlite() {
    refused(&TestServer::start());
}

#[test]
fn a_nul_character_is_refused_on_postgresql() {
    let database = format!("[database]\nurl = \"{}\"\n", fresh_database());
    refused(&TestServer::start_with(&database));
}
