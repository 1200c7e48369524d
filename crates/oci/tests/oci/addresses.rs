//! Which addresses are contacted.

use berth_oci::client::{ClientErrorKind, RegistryClient};

use crate::upstream::{client, config, reply, serve};

#[tokio::test]
async fn addresses_that_nobody_allowed_are_not_contacted() {
    let (address, log) = serve(|_, _| reply(200, &[], r#"{"tags":["v1"]}"#)).await;
    let port = address.rsplit(':').next().expect("port");
    for host in [address.clone(), format!("localhost:{port}"), format!("[::ffff:127.0.0.1]:{port}")]
    {
        let mut config = config(&address);
        config.host.clone_from(&host);
        config.allow.clear();
        let error = RegistryClient::new(config).expect("client").tags("a/b").await;
        let error = error.expect_err("refused");
        assert_eq!(error.kind(), ClientErrorKind::Refused, "{host}: {error}");
        assert!(error.to_string().contains("upstream.allow"), "{error}");
    }
    assert!(log.all().is_empty());
}

#[tokio::test]
async fn addresses_that_are_listed_are_contacted_also_by_name() {
    let (address, _) = serve(|_, _| reply(200, &[], r#"{"tags":["v1"]}"#)).await;
    assert_eq!(client(&address).tags("a/b").await.as_deref(), Ok(&["v1".to_owned()][..]));
    let port = address.rsplit(':').next().expect("port");
    let mut by_name = config(&address);
    by_name.host = format!("localhost:{port}");
    by_name.allow.push("::1/128".parse().expect("net"));
    assert!(RegistryClient::new(by_name).expect("client").tags("a/b").await.is_ok());
}
