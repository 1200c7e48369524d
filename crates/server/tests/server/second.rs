//! A database that belongs to one server.

use berth_server::{Config, Layers, Server};

use crate::harness::{TestServer, start_in};

#[tokio::test]
async fn a_second_server_on_the_same_sqlite_file_is_refused_in_words() {
    let first = TestServer::start(&[]).await;
    let data = first.folder.path().join("data").display().to_string();
    let layers = Layers::new()
        .with_flag("server.listen", "127.0.0.1:0")
        .with_flag("server.data_dir", &data)
        .with_flag("server.role", "worker");
    let config = Config::load(&layers).expect("configuration");
    let refused = Server::start(config).await.err().expect("one server at a time").to_string();
    for word in ["another process", "database.url", "postgres://"] {
        assert!(refused.contains(word), "{refused}");
    }
    let TestServer { folder, server } = first;
    server.shutdown();
    server.wait().await;
    let server = start_in(folder.path(), &[], &[]).await;
    TestServer { folder, server }.stop().await;
}
