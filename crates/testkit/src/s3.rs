//! Buckets on the S3 server (MinIO) that `cargo xtask test` started.

use crate::environment::{required, required_path};

/// Everything that a client needs to use one bucket.
#[derive(Debug, Clone)]
pub struct S3Config {
    /// `http://127.0.0.1:PORT`; buckets are addressed by path.
    pub endpoint: String,
    /// The name of the bucket, unique to this call.
    pub bucket: String,
    /// The access key id of the server's root user.
    pub access_key_id: String,
    /// The secret that belongs to it.
    pub secret_access_key: String,
    /// The region that the server signs for.
    pub region: String,
}

/// Makes an empty bucket of a unique name.
///
/// The server keeps one folder per bucket in its data folder, so a new folder there is a new bucket
/// and no S3 client is needed to make one.
///
/// # Panics
/// When a `BERTH_TEST_S3_…` variable is unset or the folder cannot be made.
#[must_use]
pub fn fresh_bucket() -> S3Config {
    let endpoint = required("BERTH_TEST_S3_ENDPOINT");
    let data_folder = required_path("BERTH_TEST_S3_DATA_DIR");
    let bucket = format!("berth-{}", uuid::Uuid::new_v4().simple());
    let folder = data_folder.join(&bucket);
    std::fs::create_dir(&folder)
        .unwrap_or_else(|error| panic!("cannot make the bucket {}: {error}", folder.display()));
    S3Config {
        endpoint,
        bucket,
        access_key_id: required("BERTH_TEST_S3_ACCESS_KEY_ID"),
        secret_access_key: required("BERTH_TEST_S3_SECRET_ACCESS_KEY"),
        region: required("BERTH_TEST_S3_REGION"),
    }
}
