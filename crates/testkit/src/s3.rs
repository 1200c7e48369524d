//! Buckets on the S3 server (MinIO) that `cargo xtask test` started, and what lies in them.

mod oss;
mod signed;

use crate::environment::{required, required_path};
pub use oss::OssQuirks;
use serde::Deserialize;
use std::path::Path;

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

/// A multipart upload that nobody has finished.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct MultipartUpload {
    /// The key of the object that it would make.
    #[serde(rename = "Key")]
    pub key: String,
    /// The service's name of it.
    #[serde(rename = "UploadId")]
    pub id: String,
    /// When it was begun.
    #[serde(rename = "Initiated")]
    pub initiated: String,
}

#[derive(Deserialize)]
struct Uploads {
    #[serde(rename = "Upload", default)]
    uploads: Vec<MultipartUpload>,
}

#[derive(Deserialize)]
struct Objects {
    #[serde(rename = "Contents", default)]
    objects: Vec<ListedObject>,
    #[serde(rename = "NextContinuationToken")]
    next: Option<String>,
}

#[derive(Deserialize)]
struct ListedObject {
    #[serde(rename = "Key")]
    key: String,
}

impl S3Config {
    /// The `[storage]` section of a server that keeps its blobs here; the secret goes to a file in
    /// `folder`.
    ///
    /// # Panics
    /// When the file cannot be written.
    #[must_use]
    pub fn storage_section(&self, folder: &Path) -> String {
        let secret = folder.join("bucket-secret");
        std::fs::write(&secret, &self.secret_access_key).expect("the secret can be written");
        format!(
            "[storage]\nurl = \"s3://{}/blobs\"\nendpoint = \"{}\"\nregion = \"{}\"\n\
             access_key_id = \"{}\"\nsecret_access_key_file = \"{}\"\n\
             allow_http = true\npath_style = true\n",
            self.bucket,
            self.endpoint,
            self.region,
            self.access_key_id,
            secret.display(),
        )
    }

    /// The keys of all objects that begin with `prefix`.
    ///
    /// # Panics
    /// When the service does not answer.
    #[must_use]
    pub fn objects(&self, prefix: &str) -> Vec<String> {
        let mut keys = Vec::new();
        let mut token = String::new();
        loop {
            let mut query = vec![("list-type", "2"), ("prefix", prefix)];
            if !token.is_empty() {
                query.push(("continuation-token", &token));
            }
            let page: Objects = self.ask(&query);
            keys.extend(page.objects.into_iter().map(|object| object.key));
            match page.next {
                Some(next) => token = next,
                None => return keys,
            }
        }
    }

    /// The bytes of an object; `None` when there is none.
    ///
    /// # Panics
    /// When the service answers with anything else.
    #[must_use]
    pub fn object(&self, key: &str) -> Option<Vec<u8>> {
        let url = self.presigned("GET", key, &[]);
        let answer = crate::registry::http_client(None).get(url).send();
        let answer = answer.unwrap_or_else(|error| panic!("object {key}: {error:?}"));
        if answer.status().as_u16() == 404 {
            return None;
        }
        assert!(answer.status().is_success(), "object {key}: {answer:?}");
        Some(answer.bytes().expect("an object arrives whole").to_vec())
    }

    /// Writes an object.
    ///
    /// # Panics
    /// When the service does not take it.
    pub fn write(&self, key: &str, bytes: &[u8]) {
        let url = self.presigned("PUT", key, &[]);
        let answer = crate::registry::http_client(None).put(url).body(bytes.to_vec()).send();
        let answer = answer.unwrap_or_else(|error| panic!("object {key}: {error:?}"));
        assert!(answer.status().is_success(), "object {key}: {answer:?}");
    }

    /// The multipart uploads that nobody has finished.
    ///
    /// # Panics
    /// When the service does not answer.
    #[must_use]
    pub fn multipart_uploads(&self) -> Vec<MultipartUpload> {
        self.ask::<Uploads>(&[("uploads", "")]).uploads
    }

    fn ask<T: for<'a> Deserialize<'a>>(&self, query: &[(&str, &str)]) -> T {
        let url = self.presigned("GET", "", query);
        let answer = crate::registry::http_client(None).get(url).send();
        let text = answer.and_then(reqwest::blocking::Response::text);
        let text = text.unwrap_or_else(|error| panic!("{query:?}: {error:?}"));
        read(&text)
    }
}

fn read<T: for<'a> Deserialize<'a>>(text: &str) -> T {
    quick_xml::de::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
