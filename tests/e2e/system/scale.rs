//! Two processes on one PostgreSQL and one S3 store: what one takes in the other builds, and the
//! death of either loses nothing.

use berth_testkit::image::{Compression, Image, Layout};
use berth_testkit::process::run;
use berth_testkit::server::{TestServer, berth};
use berth_testkit::{postgres, s3};
use berth_tests::{build, skopeo, source};

/// `berth.toml` of a process that shares database, store and master key with others.
fn shared(database: &str, bucket: &s3::S3Config, keys: &std::path::Path, role: &str) -> String {
    let secret = keys.join("secret");
    std::fs::write(&secret, &bucket.secret_access_key).expect("the secret can be written");
    format!(
        "[server]\nrole = \"{role}\"\nmaster_key_file = \"{}\"\n\
         [database]\nurl = \"{database}\"\n\
         [storage]\nurl = \"s3://{}/blobs\"\nendpoint = \"{}\"\nregion = \"{}\"\n\
         access_key_id = \"{}\"\nsecret_access_key_file = \"{}\"\n\
         allow_http = true\npath_style = true\n",
        keys.join("master.key").display(),
        bucket.bucket,
        bucket.endpoint,
        bucket.region,
        bucket.access_key_id,
        secret.display(),
    )
}

#[test]
fn one_process_takes_images_in_and_others_build_them() {
    let (database, bucket) = (postgres::fresh_database(), s3::fresh_bucket());
    let keys = tempfile::tempdir().expect("a folder");
    let server = TestServer::start_configured(&shared(&database, &bucket, keys.path(), "all"));
    let mut worker =
        TestServer::start_configured(&shared(&database, &bucket, keys.path(), "worker"));
    assert_eq!(
        server.credentials().instance_id,
        worker.credentials().instance_id,
        "both serve one instance"
    );

    let repository = build::repository(&server, "team", "app");
    let _ = build::rule(&server, &repository);
    let layer = || source::random_layer(24, Compression::Gzip);
    let mut layout = Layout::create(&server.scratch().join("source"));
    let tags = ["a", "b", "c", "d"];
    for tag in tags {
        layout.add_tagged(tag, &Image::new(vec![layer(), layer()]));
        skopeo::push(&server, layout.folder(), tag, &format!("team/app:{tag}"));
    }
    // One worker dies in the middle of whatever it does; leases bring its tasks back.
    worker.kill9();
    for tag in tags {
        let task = build::task_of_tag(&server, &repository, tag);
        build::wait_success(&server, &task);
        let pulled = server.scratch().join(format!("pulled-{tag}"));
        skopeo::pull(&server, &format!("team/app:{tag}_accelerated"), &pulled, tag);
        run(berth()
            .args(["verify", "--source", &skopeo::local(layout.folder(), tag)])
            .args(["--target", &skopeo::local(&pulled, tag)]));
    }
}
