//! TLS as clients and operators see it: Berth's own authority, and files that are replaced.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use berth_server::{Config, Layers, RunningServer, Server};

const PATIENCE: Duration = Duration::from_secs(20);

async fn start(folder: &Path, flags: &[(&str, &str)]) -> RunningServer {
    let data = folder.join("data").display().to_string();
    let mut layers =
        Layers::new().with_flag("server.listen", "127.0.0.1:0").with_flag("server.data_dir", &data);
    for (key, value) in flags {
        layers = layers.with_flag(key, value);
    }
    Server::start(Config::load(&layers).expect("configuration")).await.expect("the server starts")
}

async fn stop(server: RunningServer) {
    server.shutdown();
    tokio::time::timeout(PATIENCE, server.wait()).await.expect("the server ends");
}

/// A client that trusts one certificate and knows `hub.example.com` as `address`. It keeps no
/// connections: every request is a handshake.
fn client(pem: &[u8], address: SocketAddr) -> reqwest::Client {
    let trusted = reqwest::Certificate::from_pem(pem).expect("certificate");
    reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .tls_certs_only([trusted])
        .resolve("hub.example.com", address)
        .pool_max_idle_per_host(0)
        .build()
        .expect("client")
}

#[tokio::test]
async fn berth_is_its_own_authority() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let flags = [("server.tls_own_ca", "true"), ("server.tls_names", "hub.example.com")];
    let server = start(folder.path(), &flags).await;
    let authority = server.authority_file().expect("an authority").to_owned();
    assert_eq!(authority, folder.path().join("data/tls/ca.pem"));
    assert!(server.endpoint().starts_with("https://"));
    let pem = std::fs::read(&authority).expect("ca.pem");
    stop(server).await;

    // Clients that were given the file keep it over restarts.
    let server = start(folder.path(), &flags).await;
    assert_eq!(std::fs::read(&authority).expect("ca.pem"), pem);
    let (port, trusting) = (server.addr().port(), client(&pem, server.addr()));
    for host in ["127.0.0.1", "localhost", "hub.example.com"] {
        let answer = trusting.get(format!("https://{host}:{port}/healthz")).send().await;
        assert_eq!(answer.expect(host).version(), reqwest::Version::HTTP_2);
    }
    let stranger = tempfile::tempdir().expect("temporary folder");
    let other = start(stranger.path(), &flags).await;
    let url = format!("https://{}/healthz", other.addr());
    assert!(trusting.get(url).send().await.is_err(), "another server's authority");
    stop(other).await;
    stop(server).await;
}

#[tokio::test]
async fn replaced_files_are_shown_without_a_restart() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let [certificate, key] = ["chain.pem", "key.pem"].map(|name| folder.path().join(name));
    let [first, second] = [(); 2].map(|()| {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]);
        let made = made.expect("a certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
    });
    std::fs::write(&certificate, &first.0).expect("written");
    std::fs::write(&key, &first.1).expect("written");
    let flags = [
        ("server.tls_cert", certificate.to_str().expect("UTF-8")),
        ("server.tls_key", key.to_str().expect("UTF-8")),
    ];
    let server = start(folder.path(), &flags).await;
    assert!(server.authority_file().is_none());
    let url = format!("https://{}/healthz", server.addr());
    let [old, new] = [&first, &second].map(|pair| client(pair.0.as_bytes(), server.addr()));
    old.get(&url).send().await.expect("the first certificate");

    // Between the two steps of a renewal the pair does not fit; the one in use stays.
    std::fs::write(&key, &second.1).expect("written");
    tokio::time::sleep(Duration::from_secs(3)).await;
    old.get(&url).send().await.expect("the first certificate");
    std::fs::write(&certificate, &second.0).expect("written");
    let begun = Instant::now();
    while new.get(&url).send().await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "the second certificate is never shown");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // A client that was here before would resume its session and look at no certificate.
    let late = client(first.0.as_bytes(), server.addr());
    assert!(late.get(&url).send().await.is_err(), "the first certificate is gone");
    stop(server).await;
}
