//! Tokens, passwords, and who gets them.

use std::sync::{Arc, Mutex};

use berth_oci::client::{ClientError, Credentials, RegistryClient};
use berth_types::Secret;

use crate::upstream::{config, reply, serve};

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
