//! Who asks too often.

use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use tokio::time::timeout;

use crate::harness::{PATIENCE, TestServer, client, client_from, refused, signed_call};
use crate::sizes::error_of;

/// Asks until the answer is 429; every answer before it has `expected`.
async fn until_refused(
    ask: impl AsyncFn() -> Response,
    expected: StatusCode,
    burst: usize,
) -> Response {
    let asking = async {
        for count in 0.. {
            let answer = ask().await;
            if answer.status() == StatusCode::TOO_MANY_REQUESTS {
                assert!(count >= burst, "refused after {count}, within the burst");
                return answer;
            }
            assert_eq!(answer.status(), expected);
        }
        unreachable!("counting has no end")
    };
    timeout(PATIENCE, asking).await.expect("refused in the end")
}

async fn json(answer: Response) -> Value {
    serde_json::from_str(&answer.text().await.expect("text")).expect("JSON")
}

async fn status(http: &Client, url: &str) -> u16 {
    http.get(url).send().await.expect("answer").status().as_u16()
}

#[tokio::test]
async fn an_address_gets_its_rate_and_its_burst() {
    let server =
        TestServer::start(&[("limits.address_rate", "1"), ("limits.address_burst", "5")]).await;
    let before = refused(&server, "address_rate").await;
    let http = client_from("127.0.0.3");
    let get = async |path: &str| http.get(server.url(path)).send().await.expect("answer");
    let answer = until_refused(async || get("/v2/").await, StatusCode::UNAUTHORIZED, 5).await;
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(error_of(answer).await.1, "TOOMANYREQUESTS");
    let token = until_refused(async || get("/auth/token").await, StatusCode::OK, 0).await;
    assert_eq!(error_of(token).await.1, "TOOMANYREQUESTS");
    let rpc = until_refused(
        async || get("/?Action=ListInstance&Version=2018-12-01").await,
        StatusCode::BAD_REQUEST,
        0,
    )
    .await;
    assert_eq!(rpc.headers()["x-acs-retry-after"], "1000");
    assert_eq!(rpc.headers()["retry-after"], "1");
    let rpc = json(rpc).await;
    assert_eq!(rpc["Code"], "Throttling.User");
    assert_eq!(rpc["Message"], "Request was denied due to user flow control.");
    assert!(rpc["RequestId"].is_string() && rpc["HostId"].is_string(), "{rpc}");
    // Probes and other addresses are not concerned.
    for _ in 0..20 {
        assert_eq!(status(&http, &server.url("/healthz")).await, 200);
    }
    assert_eq!(status(&client_from("127.0.0.4"), &server.url("/v2/")).await, 401);
    assert!(refused(&server, "address_rate").await >= before + 3);
    server.stop().await;
}

#[tokio::test]
async fn behind_a_proxy_its_clients_are_told_apart() {
    let server = TestServer::start(&[
        ("server.trust_proxy", "true"),
        ("limits.proxies", "10.0.0.0/8"),
        ("limits.address_rate", "1"),
        ("limits.address_burst", "3"),
    ])
    .await;
    let http = client();
    let get = async |forwarded: &str| {
        let request = http.get(server.url("/v2/")).header("x-forwarded-for", forwarded);
        request.send().await.expect("answer")
    };
    let one = async || get("192.0.2.1, 10.1.1.1").await;
    until_refused(one, StatusCode::UNAUTHORIZED, 3).await;
    assert_eq!(get("192.0.2.1, 192.0.2.2").await.status(), 401);
    // What the client itself wrote does not make it another.
    until_refused(async || get("198.51.100.9, 192.0.2.1").await, StatusCode::UNAUTHORIZED, 0).await;
    // Neither does another address of the same network.
    until_refused(async || get("2001:db8:1:1::1").await, StatusCode::UNAUTHORIZED, 3).await;
    until_refused(async || get("2001:db8:1:1:f::2").await, StatusCode::UNAUTHORIZED, 0).await;
    assert_eq!(get("2001:db8:1:2::1").await.status(), 401);
    server.stop().await;
}

#[tokio::test]
async fn a_key_gets_its_rate_wherever_it_is_used() {
    let server = TestServer::start(&[("limits.key_rate", "1"), ("limits.key_burst", "5")]).await;
    let before = refused(&server, "key_rate").await;
    let (id, secret) = server.login();
    let http = client();
    let token = http.get(server.url("/auth/token")).basic_auth(&id, Some(&secret)).send().await;
    let token = json(token.expect("answer")).await["token"].as_str().expect("token").to_owned();
    let bearer =
        async || http.get(server.url("/v2/")).bearer_auth(&token).send().await.expect("answer");
    let answer = until_refused(bearer, StatusCode::OK, 3).await;
    assert_eq!(answer.headers()["retry-after"], "1");
    let (_, code, message) = error_of(answer).await;
    assert_eq!(code, "TOOMANYREQUESTS");
    assert!(message.contains("access key"), "{message}");
    let basic = async |path: &str| {
        let request = http.get(server.url(path)).basic_auth(&id, Some(&secret));
        request.send().await.expect("answer")
    };
    until_refused(async || basic("/v2/").await, StatusCode::OK, 0).await;
    until_refused(async || basic("/auth/token").await, StatusCode::OK, 0).await;
    // Nobody uses up the allowance of a key without its secret, and strangers have none.
    for _ in 0..10 {
        assert_eq!(status(&http, &server.url("/v2/")).await, 401);
        assert_eq!(status(&http, &server.url("/auth/token")).await, 200);
    }
    let wrong = http.get(server.url("/v2/")).basic_auth(&id, Some("wrong")).send().await;
    assert_eq!(wrong.expect("answer").status(), 401);
    assert!(refused(&server, "key_rate").await >= before + 3);
    server.stop().await;
}

#[tokio::test]
async fn passwords_cannot_be_guessed_fast() {
    let server = TestServer::start(&[("limits.failed_logins", "2")]).await;
    let before = refused(&server, "failed_logins").await;
    let (id, secret) = server.login();
    let (here, elsewhere) = (client_from("127.0.0.5"), client_from("127.0.0.6"));
    let ping = async |http: &Client, password: &str| {
        let request = http.get(server.url("/v2/")).basic_auth(&id, Some(password));
        request.send().await.expect("answer")
    };
    let token = here.get(server.url("/auth/token")).basic_auth(&id, Some(&secret)).send().await;
    let token = json(token.expect("answer")).await["token"].as_str().expect("token").to_owned();
    let refusal =
        until_refused(async || ping(&here, "guess").await, StatusCode::UNAUTHORIZED, 2).await;
    assert!(refusal.headers().contains_key("retry-after"));
    let (_, code, message) = error_of(refusal).await;
    assert_eq!(code, "TOOMANYREQUESTS");
    assert!(message.contains("wrong passwords"), "{message}");
    // A right password is taken all the while, in whatever way it is given.
    for _ in 0..20 {
        assert_eq!(ping(&here, "guess").await.status(), 429);
        assert_eq!(ping(&here, &secret).await.status(), 200);
    }
    let form = |password: &str| {
        let form = [("grant_type", "password"), ("username", id.as_str()), ("password", password)];
        form.map(|(name, value)| format!("{name}={value}")).join("&")
    };
    let post = async |password: &str| {
        let request = here.post(server.url("/auth/token")).body(form(password));
        request.send().await.expect("answer").status().as_u16()
    };
    assert_eq!([post("guess").await, post(&secret).await], [429, 200]);
    let call =
        async |secret: &str| here.execute(signed_call(&server, &id, secret)).await.expect("answer");
    let rpc = call("guess").await;
    assert_eq!(rpc.status(), 429);
    assert_eq!(json(rpc).await["Code"], "Throttling.User");
    assert_eq!(call(&secret).await.status(), 200);
    // Another key has guesses of its own, whether it exists or not.
    let stranger = here.get(server.url("/v2/")).basic_auth("stranger", Some("guess")).send().await;
    assert_eq!(stranger.expect("answer").status(), 401);
    // Tokens are no guesses, and other addresses have guesses of their own.
    let bearer = here.get(server.url("/v2/")).bearer_auth(&token).send().await;
    assert_eq!(bearer.expect("answer").status(), 200);
    assert_eq!(ping(&elsewhere, &secret).await.status(), 200);
    assert!(refused(&server, "failed_logins").await > before);
    server.stop().await;
}

#[tokio::test]
async fn a_short_password_is_looked_at_no_faster_than_the_limit_says() {
    let server =
        TestServer::start_as(&[("limits.failed_logins", "60")], Some(("operator", "easy-to-find")))
            .await;
    let http = client_from("127.0.0.8");
    let ping = async |password: &str| {
        let request = http.get(server.url("/v2/")).basic_auth("operator", Some(password));
        request.send().await.expect("answer")
    };
    until_refused(async || ping("guess").await, StatusCode::UNAUTHORIZED, 60).await;
    let begun = std::time::Instant::now();
    for _ in 0..3 {
        assert_eq!(ping("guess").await.status(), 429);
    }
    assert_eq!(ping("easy-to-find").await.status(), 200, "it waited for its turn");
    assert!(begun.elapsed() >= std::time::Duration::from_secs(3), "{:?}", begun.elapsed());
    server.stop().await;
}

#[tokio::test]
async fn right_passwords_are_never_too_many() {
    let server = TestServer::start(&[("limits.failed_logins", "3")]).await;
    let (id, secret) = server.login();
    let http = client_from("127.0.0.7");
    let ping = async |password: &str| {
        let request = http.get(server.url("/v2/")).basic_auth(&id, Some(password));
        request.send().await.expect("answer").status().as_u16()
    };
    assert_eq!(ping("wrong").await, 401);
    for _ in 0..50 {
        assert_eq!(ping(&secret).await, 200);
    }
    server.stop().await;
}
