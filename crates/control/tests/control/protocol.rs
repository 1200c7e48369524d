//! Requests as clients shape them, and the errors of the gateway.

use crate::fixture::{Answer, Fixture, HOST, KEY_ID, SECRET, VERSION, encoded};
use axum::body::Body;
use berth_auth::encoding::{merge, strict_encode};
use berth_auth::signature::{format_timestamp, rpc_v1};
use berth_types::Secret;
use bytes::Bytes;
use http::Request;
use serde_json::json;

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// A request signed with HMAC-SHA1: some parameters in the query, some in a form.
fn rpc(
    fixture: &Fixture,
    method: &str,
    action: &str,
    mut query: Vec<(String, String)>,
    form: &[(String, String)],
) -> Request<Body> {
    query.extend([
        pair("Action", action),
        pair("Version", VERSION),
        pair("Format", "JSON"),
        pair("RegionId", "cn-hangzhou"),
        pair("AccessKeyId", KEY_ID),
        pair("SignatureMethod", "HMAC-SHA1"),
        pair("SignatureVersion", "1.0"),
        pair("SignatureType", ""),
        pair("SignatureNonce", &fixture.nonce()),
        pair("Timestamp", &format_timestamp(fixture.now())),
    ]);
    let string = rpc_v1::string_to_sign(method, "/", &merge(&query, form));
    query.push(pair("Signature", &rpc_v1::signature(&string, &Secret::new(SECRET))));
    Request::builder()
        .method(method)
        .uri(format!("/?{}", encoded(&query)))
        .header("host", HOST)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(encoded(form)))
        .expect("a request")
}

fn assert_ok(answer: &Answer) {
    assert_eq!(answer.body["IsSuccess"], true, "{}", answer.body);
}

fn assert_code(answer: &Answer, status: u16, code: &str) {
    assert_eq!(
        (answer.status, answer.body["Code"].as_str()),
        (status, Some(code)),
        "{}",
        answer.body
    );
    assert_eq!(answer.content_type, "application/json;charset=utf-8");
}

#[tokio::test]
async fn every_way_to_send_parameters() {
    let fixture = Fixture::new().await;
    let id = fixture.instance_id.clone();
    // GET and POST with a query.
    for method in ["GET", "POST"] {
        let request = fixture.signed(method, "GetInstance", &[("InstanceId", &id)], b"", None);
        assert_ok(&fixture.send(request).await);
    }
    // A form under ACS3, chunked.
    let form = format!("InstanceId={id}&NamespaceName=form&AutoCreateRepo=true");
    let kind = Some("application/x-www-form-urlencoded");
    let request = fixture.signed("POST", "CreateNamespace", &[], form.as_bytes(), kind);
    let (parts, _) = request.into_parts();
    let (first, second) = form.split_at(9);
    let chunks =
        [first, second].map(|chunk| Ok::<_, std::io::Error>(Bytes::from(chunk.to_owned())));
    let chunked = Body::from_stream(futures::stream::iter(chunks));
    assert_ok(&fixture.send(Request::from_parts(parts, chunked)).await);
    // JSON under ACS3; the body wins over the query.
    let body = json!({
        "NamespaceName": "json",
        "AutoCreateRepo": false,
        "DefaultRepoConfiguration": {"RepoType": "PUBLIC"},
    });
    let query = [("InstanceId", id.as_str()), ("NamespaceName", "query")];
    let kind = Some("application/json; charset=utf-8");
    let body = body.to_string();
    let request = fixture.signed("POST", "CreateNamespace", &query, body.as_bytes(), kind);
    assert_ok(&fixture.send(request).await);
    let named = [("InstanceId", id.as_str()), ("NamespaceName", "json")];
    let namespace = fixture.call("GetNamespace", &named).await.body;
    assert_eq!(namespace["DefaultRepoType"], "PUBLIC");
    // RPC: query, and form as Terraform sends it.
    for method in ["GET", "POST"] {
        let query = vec![pair("InstanceId", &id)];
        assert_ok(&fixture.send(rpc(&fixture, method, "GetInstance", query, &[])).await);
    }
    let form = [pair("InstanceId", &id), pair("NamespaceName", "rpc-form")];
    let request = rpc(&fixture, "POST", "CreateNamespace", Vec::new(), &form);
    assert_ok(&fixture.send(request).await);
    let names: Vec<String> = ["form", "json", "rpc-form"].map(str::to_owned).into();
    let list = fixture.call("ListNamespace", &[("InstanceId", &id)]).await.body;
    let listed: Vec<&str> = list["Namespaces"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|namespace| namespace["NamespaceName"].as_str())
        .collect();
    assert_eq!(listed, names);
}

#[tokio::test]
async fn a_body_that_no_signature_covers_is_not_believed() {
    let fixture = Fixture::new().await;
    let id = fixture.instance_id.clone();
    let query = vec![pair("InstanceId", &id), pair("NamespaceName", "signed")];
    let (mut parts, _) = rpc(&fixture, "POST", "CreateNamespace", query, &[]).into_parts();
    parts.headers.insert("content-type", "application/json".parse().expect("a value"));
    let body = Body::from(json!({"NamespaceName": "smuggled"}).to_string());
    assert_ok(&fixture.send(Request::from_parts(parts, body)).await);
    let list = fixture.call("ListNamespace", &[("InstanceId", &id)]).await.body;
    assert_eq!(list["Namespaces"][0]["NamespaceName"], "signed");
    assert_eq!(list["TotalCount"], "1");
}

#[tokio::test]
async fn errors_of_signatures() {
    let fixture = Fixture::new().await;
    let id = fixture.instance_id.clone();
    let signed = || fixture.signed("POST", "GetInstance", &[("InstanceId", &id)], b"", None);
    // An unknown key, a wrong signature, a replayed nonce, an old date, no signature at all.
    let with = |header: &'static str, from: &str, to: &str| {
        let mut request = signed();
        let value = request.headers()[header].to_str().expect("text").replace(from, to);
        request.headers_mut().insert(header, value.parse().expect("a value"));
        request
    };
    let unknown =
        fixture.send(with("authorization", "Credential=operator", "Credential=nobody")).await;
    assert_code(&unknown, 404, "InvalidAccessKeyId.NotFound");
    for name in ["RequestId", "HostId", "Code", "Message", "Recommend"] {
        assert!(unknown.body[name].as_str().is_some_and(|text| !text.is_empty()), "{name}");
    }
    assert_eq!(unknown.body["HostId"], HOST);
    assert_eq!(unknown.body["RequestId"], unknown.request_id.as_str());
    let wrong = fixture.send(with("authorization", "Signature=", "Signature=0")).await;
    assert_code(&wrong, 400, "SignatureDoesNotMatch");
    let message = wrong.body["Message"].as_str().expect("a message");
    assert!(message.contains("server string to sign is:ACS3-HMAC-SHA256\n"), "{message}");
    let headers = signed().headers().clone();
    for (status, code) in [(200, "success"), (400, "SignatureNonceUsed")] {
        let mut request = signed();
        *request.headers_mut() = headers.clone();
        assert_code(&fixture.send(request).await, status, code);
    }
    let signed_too_early = signed();
    fixture.clock.advance(16 * 60_000);
    assert_code(&fixture.send(signed_too_early).await, 400, "InvalidTimeStamp.Expired");
    let signed_ahead = signed();
    fixture.clock.advance(-16 * 60_000);
    assert_code(&fixture.send(signed_ahead).await, 400, "InvalidTimeStamp.Expired");
    let bare = Request::get(format!("/?Action=GetInstance&Version={VERSION}&InstanceId={id}"));
    let anonymous = fixture.send(bare.body(Body::empty()).expect("a request")).await;
    assert_code(&anonymous, 400, "MissingAccessKeyId");
    let tampered = fixture.signed(
        "POST",
        "CreateNamespace",
        &[("InstanceId", &id)],
        b"NamespaceName=a",
        Some("application/x-www-form-urlencoded"),
    );
    let (parts, _) = tampered.into_parts();
    let tampered = Request::from_parts(parts, Body::from("NamespaceName=b"));
    assert_code(&fixture.send(tampered).await, 400, "SignatureDoesNotMatch");
}

#[tokio::test]
async fn errors_of_dispatch() {
    let fixture = Fixture::new().await;
    let id = fixture.instance_id.clone();
    let query = [("InstanceId", id.as_str())];
    let send = async |method, action: &str| {
        fixture.send(fixture.signed(method, action, &query, b"", None)).await
    };
    assert_code(&send("POST", "NoSuchAction").await, 404, "InvalidAction.NotFound");
    assert_code(&send("POST", "getinstance").await, 404, "InvalidAction.NotFound");
    for method in ["DELETE", "PATCH", "OPTIONS"] {
        let answer = send(method, "GetInstance").await;
        assert_code(&answer, 400, "UnsupportedHTTPMethod");
    }
    assert_code(&send("PUT", "GetInstance").await, 400, "UnsupportedHTTPMethod");
    let put = send("PUT", "CancelArtifactBuildTask").await;
    assert_code(&put, 400, "MissingBuildTaskId");
    let get = async |target: &str| {
        fixture.send(Request::get(target).body(Body::empty()).expect("a request")).await
    };
    assert_code(&get("/").await, 400, "MissingAction");
    assert_code(&get("/?Action=GetInstance").await, 400, "MissingVersion");
    let answer = get("/?Action=GetInstance&Version=2016-06-07").await;
    assert_code(&answer, 400, "InvalidVersion");
    let missing = fixture.call("GetInstance", &[]).await;
    assert_code(&missing, 400, "MissingInstanceId");
    assert_eq!(missing.body["Message"], "InstanceId is mandatory for this action.");
    let bad = fixture.call("ListNamespace", &[("InstanceId", &id), ("PageSize", "ten")]).await;
    assert_code(&bad, 400, "InvalidPageSize");
    let message = bad.body["Message"].as_str().expect("a message");
    assert!(message.contains("PageSize") && message.contains("`ten`"), "{message}");
    let kind = Some("application/x-www-form-urlencoded");
    let large = vec![b'a'; (1 << 20) + 1];
    let large = fixture.signed("POST", "GetInstance", &query, &large, kind);
    assert_code(&fixture.send(large).await, 413, "RequestTooLarge");
    let broken = fixture.signed("POST", "GetInstance", &query, b"[", Some("application/json"));
    assert_code(&fixture.send(broken).await, 400, "InvalidParameter.Format");
}

#[tokio::test]
async fn hosts_with_a_scheme_and_strange_names_are_signed_as_they_are() {
    let fixture = Fixture::new().await;
    let id = fixture.instance_id.clone();
    let strange = [("InstanceId", id.as_str()), ("中 *", "+&="), ("a[0]", "~")];
    assert_ok(&fixture.call("GetInstance", &strange).await);
    assert_eq!(strict_encode("中 *"), "%E4%B8%AD%20%2A");
}
