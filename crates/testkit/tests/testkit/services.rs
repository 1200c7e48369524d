//! The servers that `cargo xtask test` starts are there and empty for whoever asks.

use std::process::Command;

fn output(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn databases_are_fresh_and_separate() {
    let (one, two) =
        (berth_testkit::postgres::fresh_database(), berth_testkit::postgres::fresh_database());
    let sql = |url: &str, text: &str| {
        output(Command::new("psql").args(["-X", "--tuples-only", "-d", url, "-c", text]))
    };
    sql(&one, "CREATE TABLE only_here (id BIGINT)");
    let tables = "SELECT count(*) FROM information_schema.tables WHERE table_name = 'only_here'";
    assert_eq!((sql(&one, tables).as_str(), sql(&two, tables).as_str()), ("1", "0"));
}

#[test]
fn buckets_take_objects() {
    let bucket = berth_testkit::s3::fresh_bucket();
    let user = format!("{}:{}", bucket.access_key_id, bucket.secret_access_key);
    let url = format!("{}/{}/object", bucket.endpoint, bucket.bucket);
    let signing = format!("aws:amz:{}:s3", bucket.region);
    let curl = || {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--aws-sigv4", &signing, "--user", &user]);
        curl.args(["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]);
        curl
    };
    output(curl().args(["--request", "PUT", "--data-binary", "content", &url]));
    assert_eq!(output(curl().arg(&url)), "content");
}
