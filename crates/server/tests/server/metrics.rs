//! Who reads the metrics.

use reqwest::StatusCode;

use crate::harness::{TestServer, client};

async fn status(url: &str, token: Option<&str>) -> StatusCode {
    let mut request = client().get(url);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    request.send().await.expect("answer").status()
}

#[tokio::test]
async fn with_an_address_of_their_own_metrics_are_nowhere_else() {
    let server = TestServer::start(&[("server.metrics_listen", "127.0.0.1:0")]).await;
    assert_eq!(status(&server.url("/metrics"), None).await, StatusCode::NOT_FOUND);
    assert_eq!(status(&server.url("/readyz"), None).await, StatusCode::OK);
    let address = server.server.metrics_addr().expect("an address");
    assert_ne!(address, server.address());
    assert_eq!(status(&format!("http://{address}/metrics"), None).await, StatusCode::OK);
    for path in ["v2/", "", "readyz", "auth/token"] {
        let url = format!("http://{address}/{path}");
        assert_eq!(status(&url, None).await, StatusCode::NOT_FOUND, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn metrics_may_ask_for_a_token() {
    let token = "sixteen-or-more-characters";
    let server = TestServer::start_with(&[], &[("BERTH_METRICS_TOKEN", token)]).await;
    let url = server.url("/metrics");
    for wrong in [None, Some("sixteen-or-more-character"), Some("x")] {
        assert_eq!(status(&url, wrong).await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(status(&url, Some(token)).await, StatusCode::OK);
    assert_eq!(status(&server.url("/healthz"), None).await, StatusCode::OK);
    server.stop().await;
}
