use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use berth_auth::TEMP_USERNAME;
use berth_metadata::tables::access_key;
use http::Method;
use serde_json::Value;

use crate::harness::{HOST_NAME, TestRegistry};

fn service(registry: &TestRegistry) -> String {
    format!("registry.aliyuncs.com:local:china:{}", registry.credentials.instance_id)
}

async fn token(registry: &TestRegistry, login: Option<&str>, scopes: &[&str]) -> String {
    let mut path = format!("/auth/token?service={}", service(registry));
    for scope in scopes {
        path.push_str(&format!("&scope={scope}"));
    }
    let answer = registry.call_as(login, Method::GET, &path, &[], Body::empty()).await.expect(200);
    let body = answer.json();
    assert_eq!(body["token"], body["access_token"]);
    assert!(body["expires_in"].as_u64().is_some_and(|seconds| seconds >= 60));
    assert!(body["issued_at"].as_str().is_some_and(|time| time.ends_with('Z')));
    format!("Bearer {}", body["token"].as_str().expect("token"))
}

async fn get_as(registry: &TestRegistry, login: Option<&str>, path: &str) -> u16 {
    let answer = registry.call_as(login, Method::GET, path, &[], Body::empty()).await;
    answer.status.as_u16()
}

#[tokio::test]
async fn who_has_no_credentials_is_told_where_tokens_are() {
    let registry = TestRegistry::start().await;
    let service = service(&registry);
    let ping = registry.call_as(None, Method::GET, "/v2/", &[], Body::empty()).await;
    assert_eq!(ping.error(), (401, "UNAUTHORIZED".to_owned()));
    assert_eq!(
        ping.header("www-authenticate"),
        format!("Bearer realm=\"http://{HOST_NAME}/auth/token\",service=\"{service}\"")
    );
    assert_eq!(ping.header("docker-distribution-api-version"), "registry/2.0");
    let path = "/v2/team/app/manifests/v1";
    let pull = registry.call_as(None, Method::GET, path, &[], Body::empty()).await.expect(401);
    let challenge = pull.header("www-authenticate");
    assert!(challenge.ends_with(",scope=\"repository:team/app:pull\""), "{challenge}");
    let path = "/v2/team/app/blobs/uploads/";
    let push = registry.call_as(None, Method::POST, path, &[], Body::empty()).await.expect(401);
    let challenge = push.header("www-authenticate");
    assert!(challenge.ends_with(",scope=\"repository:team/app:pull,push\""), "{challenge}");
}

#[tokio::test]
async fn basic_credentials_are_taken_on_the_request_itself() {
    let registry = TestRegistry::start().await;
    let basic = registry.basic();
    assert_eq!(get_as(&registry, Some(&basic), "/v2/").await, 200);
    for wrong in ["Basic eDp5", "Basic !", "Bearer x", "Digest x", "Basic"] {
        let answer = registry.call_as(Some(wrong), Method::GET, "/v2/", &[], Body::empty()).await;
        assert_eq!(answer.error(), (401, "UNAUTHORIZED".to_owned()), "{wrong}");
        assert!(answer.header("www-authenticate").starts_with("Bearer realm="));
    }
}

#[tokio::test]
async fn a_token_allows_what_it_was_issued_for() {
    let registry = TestRegistry::start().await;
    registry.push_image("team/app", "v1").await;
    let basic = registry.basic();
    let pull = token(&registry, Some(&basic), &["repository:team/app:pull"]).await;
    assert_eq!(get_as(&registry, Some(&pull), "/v2/").await, 200);
    assert_eq!(get_as(&registry, Some(&pull), "/v2/team/app/manifests/v1").await, 200);
    let path = "/v2/team/app/blobs/uploads/";
    let push = registry.call_as(Some(&pull), Method::POST, path, &[], Body::empty()).await;
    assert_eq!(push.error(), (401, "UNAUTHORIZED".to_owned()));
    let challenge = push.header("www-authenticate");
    assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
    assert_eq!(get_as(&registry, Some(&pull), "/v2/team/other/tags/list").await, 401);

    let scopes = ["repository:team/app:pull,push repository:team/new:pull,push", "x"];
    let push = token(
        &registry,
        Some(&basic),
        &scopes.map(|scope| scope.replace(' ', "%20")).each_ref().map(String::as_str),
    )
    .await;
    for path in ["/v2/team/app/blobs/uploads/", "/v2/team/new/blobs/uploads/"] {
        registry.call_as(Some(&push), Method::POST, path, &[], Body::empty()).await.expect(202);
    }
    let path = "/v2/team/app/manifests/v1";
    registry.call_as(Some(&push), Method::DELETE, path, &[], Body::empty()).await.expect(401);
    let all = token(&registry, Some(&basic), &["repository:team/app:*"]).await;
    registry.call_as(Some(&all), Method::DELETE, path, &[], Body::empty()).await.expect(202);
}

#[tokio::test]
async fn anybody_may_pull_what_is_public_and_nothing_else() {
    let registry = TestRegistry::start().await;
    registry.push_image("team/open", "v1").await;
    registry.push_image("team/closed", "v1").await;
    registry.publish("team/open").await;
    let scopes = [
        "repository:team/open:pull,push",
        "repository:team/closed:pull",
        "repository:team/none:pull",
    ];
    let nobody = token(&registry, None, &scopes).await;
    assert_eq!(get_as(&registry, Some(&nobody), "/v2/team/open/manifests/v1").await, 200);
    // Whether the others exist is not to be seen.
    assert_eq!(get_as(&registry, Some(&nobody), "/v2/team/closed/manifests/v1").await, 401);
    assert_eq!(get_as(&registry, Some(&nobody), "/v2/team/none/manifests/v1").await, 401);
    let path = "/v2/team/open/blobs/uploads/";
    registry.call_as(Some(&nobody), Method::POST, path, &[], Body::empty()).await.expect(401);
    let wrong = "/auth/token?scope=repository:team/open:pull";
    let refused =
        registry.call_as(Some("Basic eDp5"), Method::GET, wrong, &[], Body::empty()).await;
    assert_eq!(refused.error(), (401, "UNAUTHORIZED".to_owned()));
}

#[tokio::test]
async fn every_pull_is_authorised_anew() {
    let registry = TestRegistry::start().await;
    let manifest = registry.push_image("team/open", "v1").await;
    let layer = registry.push_blob("team/open", b"layer").await;
    registry.publish("team/open").await;
    let nobody = token(&registry, None, &["repository:team/open:pull"]).await;
    let basic = registry.basic();
    let owner = token(&registry, Some(&basic), &["repository:team/open:pull"]).await;
    let paths = [
        "/v2/team/open/manifests/v1".to_owned(),
        format!("/v2/team/open/manifests/{manifest}"),
        format!("/v2/team/open/blobs/{layer}"),
        "/v2/team/open/tags/list".to_owned(),
    ];
    let expect = async |caller: &str, status: u16| {
        for path in &paths {
            assert_eq!(get_as(&registry, Some(caller), path).await, status, "{path}");
        }
    };
    for (repo_type, status) in [("PUBLIC", 200), ("PRIVATE", 403), ("PUBLIC", 200)] {
        registry.set_type("team/open", repo_type).await;
        for _ in 0..2 {
            expect(&nobody, status).await;
            expect(&owner, 200).await;
        }
    }
    let id = &registry.credentials.access_key_id;
    let mut session = registry.db.begin().await.expect("begin");
    let found = access_key::find(&mut session, id).await.expect("find").expect("the key");
    let row = access_key::AccessKey { status: "Inactive".to_owned(), ..found };
    access_key::update(&mut session, &row).await.expect("update");
    session.commit().await.expect("commit");
    expect(&nobody, 200).await;
    let path = "/v2/team/open/manifests/v1";
    let refused = registry.call_as(Some(&owner), Method::GET, path, &[], Body::empty()).await;
    let challenge = refused.header("www-authenticate").to_owned();
    assert_eq!(refused.error(), (401, "UNAUTHORIZED".to_owned()));
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    assert_eq!(get_as(&registry, Some(&basic), path).await, 401);
}

#[tokio::test]
async fn the_oauth2_form_takes_passwords_and_refresh_tokens() {
    let registry = TestRegistry::start().await;
    registry.push_image("team/app", "v1").await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let post = |body: String| {
        let registry = &registry;
        async move { registry.call_as(None, Method::POST, "/auth/token", &form, body).await }
    };
    let id = &registry.credentials.access_key_id;
    let secret = registry.credentials.access_key_secret.expose();
    let scope = "scope=repository%3Ateam%2Fapp%3Apull&client_id=test";
    let first = post(format!(
        "grant_type=password&username={id}&password={secret}&access_type=offline&{scope}"
    ))
    .await
    .expect(200)
    .json();
    let refresh = first["refresh_token"].as_str().expect("refresh token").to_owned();
    let second: Value = post(format!("grant_type=refresh_token&refresh_token={refresh}&{scope}"))
        .await
        .expect(200)
        .json();
    let bearer = format!("Bearer {}", second["access_token"].as_str().expect("token"));
    assert_eq!(get_as(&registry, Some(&bearer), "/v2/team/app/tags/list").await, 200);
    let wrong = post(format!("grant_type=password&username={id}&password=x&{scope}")).await;
    assert_eq!(wrong.error(), (401, "UNAUTHORIZED".to_owned()));
    post(format!("grant_type=refresh_token&refresh_token=x&{scope}")).await.expect(401);
    post("grant_type=device".to_owned()).await.expect(405);
}

#[tokio::test]
async fn a_temporary_password_does_not_become_a_longer_one() {
    let registry = TestRegistry::start().await;
    registry.push_image("team/app", "v1").await;
    let password = registry.temporary_password(std::time::Duration::from_secs(100)).await;
    let basic = |password: &str| {
        let pair = STANDARD.encode(format!("{TEMP_USERNAME}:{password}"));
        format!("Basic {pair}")
    };
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let scope = "scope=repository%3Ateam%2Fapp%3Apull&client_id=test&access_type=offline";
    let post =
        async |body: String| registry.call_as(None, Method::POST, "/auth/token", &form, body).await;
    // Every way to ask for a refresh token, and what it is worth.
    let path = format!("/auth/token?service={}&{scope}", service(&registry));
    let by_query =
        registry.call_as(Some(&basic(&password)), Method::GET, &path, &[], Body::empty()).await;
    let by_form =
        post(format!("grant_type=password&username={TEMP_USERNAME}&password={password}&{scope}"));
    for answer in [by_query, by_form.await] {
        let mut answer = answer.expect(200).json();
        for _ in 0..3 {
            let seconds = answer["expires_in"].as_u64().expect("seconds");
            assert!(seconds <= 100, "{seconds} s of a password of 100 s");
            let bearer = format!("Bearer {}", answer["token"].as_str().expect("token"));
            assert_eq!(get_as(&registry, Some(&bearer), "/v2/team/app/tags/list").await, 200);
            let refresh = answer["refresh_token"].as_str().expect("refresh token").to_owned();
            assert_eq!(get_as(&registry, Some(&basic(&refresh)), "/v2/").await, 401);
            let renewed = post(format!("grant_type=refresh_token&refresh_token={refresh}&{scope}"));
            answer = renewed.await.expect(200).json();
            assert_eq!(answer["refresh_token"], refresh.as_str(), "it does not renew itself");
        }
    }
    let refused = post(format!("grant_type=refresh_token&refresh_token={password}&{scope}")).await;
    assert_eq!(refused.error(), (401, "UNAUTHORIZED".to_owned()));
}

#[tokio::test]
async fn an_access_token_does_not_renew_itself() {
    let registry = TestRegistry::start().await;
    let basic = registry.basic();
    let bearer = token(&registry, Some(&basic), &["repository:team/app:pull"]).await;
    assert_eq!(get_as(&registry, Some(&bearer), "/auth/token").await, 401);
}

#[tokio::test]
async fn the_catalog_is_not_offered() {
    let registry = TestRegistry::start().await;
    let answer = registry.get("/v2/_catalog").await;
    assert_eq!(answer.error(), (405, "UNSUPPORTED".to_owned()));
}
