//! Where redirects lead, and what goes along.

use std::sync::{Arc, Mutex};

use berth_oci::client::{Credentials, RegistryClient};
use berth_types::Secret;

use crate::upstream::{config, descriptor, read, reply, serve};

#[tokio::test]
async fn redirects_are_checked_and_take_no_credentials_along() {
    let layer = b"layer bytes".to_vec();
    let blob = descriptor(&layer);
    let body = layer.clone();
    let (storage, storage_log) = serve(move |_, _| reply(200, &[], body.clone())).await;
    let target = Arc::new(Mutex::new(format!("http://{storage}/signed?x=1")));
    let current = Arc::clone(&target);
    let (address, _) = serve(move |seen, _| {
        if seen.authorization.is_none() {
            return reply(401, &[("www-authenticate", "Basic realm=\"r\"")], "");
        }
        let location = current.lock().expect("target").clone();
        reply(307, &[("location", &location)], "")
    })
    .await;
    let mut config = config(&address);
    config.credentials =
        Some(Credentials { username: "me".to_owned(), password: Secret::new("hidden") });
    let client = RegistryClient::new(config).expect("client");
    assert_eq!(read(&client, &blob).await, Ok(layer));
    assert_eq!(storage_log.all().first().map(|seen| seen.authorization.clone()), Some(None));
    for bad in [
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.2/x",
        "http://[::1]/x",
        "http://0x7f000002/x",
        "http://user:pass@127.0.0.1/x",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "",
    ] {
        bad.clone_into(&mut target.lock().expect("target"));
        let error = read(&client, &blob).await.expect_err(bad);
        assert!(!error.is_transient(), "{bad}: {error}");
    }
}
