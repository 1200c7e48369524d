//! Tokens, passwords, and who gets them.

use std::sync::{Arc, Mutex};

use berth_oci::client::{ClientError, Credentials, RegistryClient};
use berth_types::Secret;

use crate::upstream::{Log, client, config, descriptor, read, reply, serve};

#[tokio::test]
async fn passwords_are_kept_from_token_servers_elsewhere() {
    let (address, log) = serve(|_, _| {
        reply(401, &[("www-authenticate", "Bearer realm=\"http://127.0.0.2:1/token\"")], "")
    })
    .await;
    let mut with_password = config(&address);
    with_password.credentials =
        Some(Credentials { username: "me".to_owned(), password: Secret::new("hidden") });
    let error = RegistryClient::new(with_password).expect("client").tags("a/b").await;
    assert!(matches!(error, Err(ClientError::Realm { .. })), "{error:?}");
    assert_eq!(log.count("/token"), 0);
    assert!(log.all().iter().all(|seen| seen.authorization.is_none()));
}

#[tokio::test]
async fn tokens_are_fetched_once_and_renewed_when_refused() {
    // The token "old" is refused from the fifth request on.
    let own = Arc::new(Mutex::new(String::new()));
    let realm = Arc::clone(&own);
    let (address, log) = serve(move |seen, number| {
        let token = if number < 4 { "old" } else { "new" };
        if seen.request.starts_with("GET /token") {
            return reply(200, &[], format!(r#"{{"access_token":"{token}"}}"#));
        }
        if seen.authorization.as_deref() == Some(&format!("Bearer {token}")) {
            return reply(200, &[], r#"{"tags":null}"#);
        }
        let realm = realm.lock().expect("realm").clone();
        let challenge = format!("Bearer realm=\"http://{realm}/token\",service=\"s\"");
        reply(401, &[("www-authenticate", &challenge)], "")
    })
    .await;
    own.lock().expect("realm").clone_from(&address);
    let mut with_password = config(&address);
    with_password.credentials =
        Some(Credentials { username: "me".to_owned(), password: Secret::new("hidden") });
    let client = RegistryClient::new(with_password).expect("client");
    for _ in 0..3 {
        client.tags("a/b").await.expect("tags");
    }
    assert_eq!(log.count("GET /token"), 2, "{:?}", log.all());
    for seen in log.all() {
        let basic = seen.authorization.is_some_and(|one| one.starts_with("Basic "));
        assert_eq!(basic, seen.request.starts_with("GET /token"), "{}", seen.request);
    }
    let token_request = log.all().into_iter().find(|seen| seen.request.contains("/token"));
    let token_request = token_request.expect("token request").request;
    assert!(token_request.contains("scope=repository%3Aa%2Fb%3Apull"), "{token_request}");
}

/// A registry that asks for a token, and its token server, which answers with `token` to the query
/// that `wanted` is part of. The challenge names `scope` where it is not empty.
async fn guarded(token: &'static str, scope: &'static str, wanted: &'static str) -> (String, Log) {
    let own = Arc::new(Mutex::new(String::new()));
    let realm = Arc::clone(&own);
    let (address, log) = serve(move |seen, _| {
        if seen.request.starts_with("GET /token") {
            let given =
                if seen.request.contains(wanted) { token } else { r#"{"token":"useless"}"# };
            return reply(200, &[], given);
        }
        if seen.authorization.as_deref() == Some("Bearer good") {
            return reply(200, &[], r#"{"tags":["v1"]}"#);
        }
        let realm = realm.lock().expect("realm").clone();
        let scope = if scope.is_empty() { String::new() } else { format!(",scope=\"{scope}\"") };
        let challenge = format!("Bearer realm=\"http://{realm}/token\",service=\"s\"{scope}");
        reply(401, &[("www-authenticate", &challenge)], "")
    })
    .await;
    own.lock().expect("realm").clone_from(&address);
    (address, log)
}

#[tokio::test]
async fn tokens_are_taken_in_every_form() {
    for token in [
        r#"{"token":"good"}"#,
        r#"{"token":"","access_token":"good"}"#,
        r#"{"token":null,"access_token":"good","expires_in":-1}"#,
        r#"{"token":"good","expires_in":"300"}"#,
        r#"{"token":"good","expires_in":"soon","issued_at":17}"#,
        r#"{"token":"good","expires_in":1e300}"#,
    ] {
        let (address, log) = guarded(token, "", "scope=repository%3Aa%2Fb%3Apull").await;
        assert!(client(&address).tags("a/b").await.is_ok(), "{token}");
        assert_eq!(log.all().len(), 3, "{token}");
    }
}

#[tokio::test]
async fn the_scope_of_the_challenge_is_asked_for() {
    for (scope, wanted) in [
        ("repository:mirror/a/b:pull", "scope=repository%3Amirror%2Fa%2Fb%3Apull"),
        ("repository:a/b:metadata_read", "metadata_read"),
        ("repository:a/b:pull repository:c/d:pull", "scope=repository%3Ac%2Fd%3Apull"),
    ] {
        let (address, log) = guarded(r#"{"token":"good"}"#, scope, wanted).await;
        let client = client(&address);
        assert!(client.tags("a/b").await.is_ok(), "{scope}");
        assert!(client.tags("a/b").await.is_ok(), "{scope}");
        assert_eq!(log.all().len(), 4, "{scope}");
    }
}

#[tokio::test]
async fn a_scope_that_the_challenge_names_later_is_asked_for_too() {
    let (address, log) = guarded(r#"{"token":"good"}"#, "repository:z/b:pull", "z%2Fb").await;
    let client = client(&address);
    assert!(client.tags("a/b").await.is_ok());
    // Nothing says before the first refusal that this repository has another scope, too.
    assert!(client.tags("c/d").await.is_ok());
    assert_eq!(log.count("GET /token"), 2, "{:?}", log.all());
}

#[tokio::test]
async fn a_token_that_is_refused_is_no_loop() {
    let (address, log) = guarded(r#"{"token":"bad"}"#, "repository:z/b:pull", "never").await;
    let error = client(&address).tags("a/b").await.expect_err("refused");
    assert!(matches!(error, ClientError::Unauthorized { .. }), "{error}");
    assert!(log.all().len() <= 4, "{:?}", log.all());
}

#[tokio::test]
async fn a_host_behind_a_redirect_is_answered_without_the_password() {
    let (storage, storage_log) =
        guarded(r#"{"token":"good"}"#, "repository:x:pull", "repository%3Ax").await;
    let target = format!("http://{storage}/v2/x/blobs/1");
    let (address, log) = serve(move |seen, _| {
        if seen.authorization.is_none() {
            return reply(401, &[("www-authenticate", "Basic realm=\"r\"")], "");
        }
        reply(307, &[("location", &target)], "")
    })
    .await;
    let mut config = config(&address);
    config.credentials =
        Some(Credentials { username: "me".to_owned(), password: Secret::new("hidden") });
    let client = RegistryClient::new(config).expect("client");
    // What the storage answers is the body of its tags.
    let blob = descriptor(br#"{"tags":["v1"]}"#);
    for _ in 0..2 {
        assert!(read(&client, &blob).await.is_ok(), "{:?}", storage_log.all());
    }
    assert_eq!(storage_log.count("GET /token"), 1, "{:?}", storage_log.all());
    for seen in storage_log.all() {
        let basic = seen.authorization.is_some_and(|one| one.starts_with("Basic "));
        assert!(!basic && !seen.request.contains("account="), "{}", seen.request);
    }
    assert!(log.all().iter().all(|seen| seen.authorization.as_deref() != Some("Bearer good")));
}

#[tokio::test]
async fn without_a_password_a_token_server_may_be_anywhere_that_addresses_allow() {
    let (token, token_log) = serve(|_, _| reply(200, &[], r#"{"token":"good"}"#)).await;
    let port = token.rsplit(':').next().expect("port").to_owned();
    for (realm, reached) in [
        (format!("http://localhost:{port}/token"), true),
        ("http://127.0.0.2:1/token".to_owned(), false),
    ] {
        let (address, _) = serve(move |seen, _| {
            if seen.authorization.is_some() {
                return reply(200, &[], r#"{"tags":["v1"]}"#);
            }
            reply(401, &[("www-authenticate", &format!("Bearer realm=\"{realm}\""))], "")
        })
        .await;
        let error = client(&address).tags("a/b").await.err();
        assert_eq!(error.is_none(), reached, "{error:?}");
        if let Some(error) = error {
            assert!(error.to_string().contains("upstream.allow"), "{error}");
        }
    }
    assert_eq!(token_log.all().len(), 1);
}

#[tokio::test]
async fn a_listed_address_gets_the_password() {
    let (token, token_log) = serve(|_, _| reply(200, &[], r#"{"token":"good"}"#)).await;
    let port = token.rsplit(':').next().expect("port").to_owned();
    let realm = format!("http://localhost:{port}/token");
    let (address, _) = serve(move |seen, _| {
        if seen.authorization.as_deref() == Some("Bearer good") {
            return reply(200, &[], r#"{"tags":["v1"]}"#);
        }
        reply(401, &[("www-authenticate", &format!("Bearer realm=\"{realm}\""))], "")
    })
    .await;
    let mut config = config(&address);
    config.credentials =
        Some(Credentials { username: "me".to_owned(), password: Secret::new("hidden") });
    config.settings = Some("upstream.providers.QUAY".to_owned());
    let refused = RegistryClient::new(config.clone()).expect("client").tags("a/b").await;
    let text = refused.expect_err("not listed").to_string();
    let advice = format!("add `localhost:{port}` to upstream.providers.QUAY.realms");
    assert!(text.contains(&advice), "{text}");
    assert!(token_log.all().is_empty());
    config.realms = vec![format!("localhost:{port}")];
    assert!(RegistryClient::new(config).expect("client").tags("a/b").await.is_ok());
    assert!(token_log.all().iter().all(|seen| seen.authorization.is_some()));
}
