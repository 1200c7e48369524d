//! Requests that the client library does not make: completing a multipart upload whose part numbers
//! have gaps, listing multipart uploads and their parts.
//!
//! They are signed as presigned URLs are, and repeated after a while when the service is busy.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderValue, Method, StatusCode};
use object_store::client::{HttpRequest, HttpRequestBody};
use object_store::multipart::MultipartStore as _;
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer as _};
use serde::{Deserialize, Serialize};

use super::Bucket;
use super::parts::{Part, Upload};
use crate::error::says_full;
use crate::{StorageError, StorageErrorKind};

/// How often a request is made before its failure counts.
const ATTEMPTS: u32 = 8;
/// The pause after the first failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long a signature is good for.
const SIGNED_FOR: Duration = Duration::from_secs(900);

/// A multipart upload that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Listed {
    #[serde(rename = "Key")]
    pub(super) key: String,
    #[serde(rename = "UploadId")]
    pub(super) id: String,
    #[serde(rename = "Initiated")]
    pub(super) initiated: DateTime<Utc>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct UploadsPage {
    #[serde(rename = "Upload")]
    uploads: Vec<Listed>,
    is_truncated: bool,
    next_key_marker: String,
    next_upload_id_marker: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PartsPage {
    #[serde(rename = "Part")]
    parts: Vec<ListedPart>,
    is_truncated: bool,
    next_part_number_marker: String,
}

#[derive(Debug, Deserialize)]
struct ListedPart {
    #[serde(rename = "LastModified")]
    last_modified: DateTime<Utc>,
}

#[derive(Serialize)]
#[serde(rename = "CompleteMultipartUpload")]
struct Completion<'a> {
    #[serde(rename = "Part")]
    parts: Vec<CompletedPart<'a>>,
}

#[derive(Serialize)]
struct CompletedPart<'a> {
    #[serde(rename = "PartNumber")]
    number: u32,
    #[serde(rename = "ETag")]
    e_tag: &'a str,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Completed {
    #[serde(rename = "ETag")]
    e_tag: Option<String>,
}

/// The document of an error, which also comes with 200 when it shows late.
#[derive(Debug, Deserialize)]
struct Refusal {
    #[serde(rename = "Code")]
    code: String,
    #[serde(rename = "Message", default)]
    message: String,
}

impl Bucket {
    /// Makes the object of its parts, and returns its entity tag.
    pub(super) async fn complete(
        &self,
        upload: &Upload,
        parts: &[Part],
    ) -> Result<Option<String>, StorageError> {
        let path = self.object(&upload.key)?;
        let action = format!("complete {path}");
        let parts =
            parts.iter().map(|part| CompletedPart { number: part.number, e_tag: &part.e_tag });
        let body = quick_xml::se::to_string(&Completion { parts: parts.collect() })
            .map_err(|error| StorageError::new(StorageErrorKind::Other, error.to_string()))?;
        let query = [("uploadId", upload.id.as_str())];
        let answer = self.request(&action, Method::POST, &path, &query, body.into()).await?;
        Ok(parse::<Completed>(&action, &answer)?.e_tag)
    }

    /// Ends a multipart upload without an object. Idempotent.
    pub(super) async fn abort(&self, upload: &Upload) -> Result<(), StorageError> {
        let path = self.object(&upload.key)?;
        match self.s3.abort_multipart(&path, &upload.id).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(StorageError::remote(&format!("abort {path}"), error)),
        }
    }

    /// The multipart uploads whose key begins so. MinIO compares a prefix with whole keys and
    /// answers nothing, but lists all uploads of a bucket; so what has no result is asked that way.
    pub(super) async fn multipart_uploads(
        &self,
        prefix: &str,
    ) -> Result<Vec<Listed>, StorageError> {
        let mut found = self.uploads_with(prefix).await?;
        if found.is_empty() {
            found = self.uploads_with("").await?;
            found.retain(|upload| upload.key.starts_with(prefix));
        }
        Ok(found)
    }

    async fn uploads_with(&self, prefix: &str) -> Result<Vec<Listed>, StorageError> {
        let mut found = Vec::new();
        let (mut key, mut id) = (String::new(), String::new());
        loop {
            let mut query = vec![("uploads", ""), ("max-uploads", "1000")];
            let further = [("prefix", prefix), ("key-marker", &key), ("upload-id-marker", &id)];
            query.extend(further.into_iter().filter(|(_, value)| !value.is_empty()));
            let action = "list multipart uploads";
            let root = Path::default();
            let answer = self.request(action, Method::GET, &root, &query, Bytes::new()).await?;
            let page: UploadsPage = parse(action, &answer)?;
            found.extend(page.uploads);
            let next = (page.next_key_marker, page.next_upload_id_marker);
            if !page.is_truncated || next == (key.clone(), id.clone()) {
                return Ok(found);
            }
            (key, id) = next;
        }
    }

    /// When the last part of a multipart upload came; `None` when it has none, or is over.
    pub(super) async fn last_part(
        &self,
        upload: &Upload,
    ) -> Result<Option<DateTime<Utc>>, StorageError> {
        let path = self.object(&upload.key)?;
        let action = format!("list the parts of {path}");
        let (mut last, mut marker) = (None, String::new());
        loop {
            let mut query = vec![("uploadId", upload.id.as_str()), ("max-parts", "1000")];
            if !marker.is_empty() {
                query.push(("part-number-marker", &marker));
            }
            let answer = self.request(&action, Method::GET, &path, &query, Bytes::new()).await;
            let page: PartsPage = match answer {
                Ok(answer) => parse(&action, &answer)?,
                Err(error) if error.kind() == StorageErrorKind::NotFound => return Ok(last),
                Err(error) => return Err(error),
            };
            last = page.parts.iter().map(|part| part.last_modified).max().max(last);
            if !page.is_truncated || page.next_part_number_marker == marker {
                return Ok(last);
            }
            marker = page.next_part_number_marker;
        }
    }

    /// Makes a request until it succeeds or is truly refused; returns the body of the answer.
    async fn request(
        &self,
        action: &str,
        method: Method,
        path: &Path,
        query: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Bytes, StorageError> {
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        loop {
            let outcome = self.request_once(action, &method, path, query, body.clone()).await;
            match outcome {
                Err((_, true)) if attempt < ATTEMPTS => {}
                outcome => return outcome.map_err(|(error, _)| error),
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
            attempt += 1;
        }
    }

    /// One request; an error comes with whether repeating it may help.
    async fn request_once(
        &self,
        action: &str,
        method: &Method,
        path: &Path,
        query: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Bytes, (StorageError, bool)> {
        let options = SignedUrlOptions::new().with_query(query.iter().copied());
        let signed = self.s3.signed_url_opts(method.clone(), path, SIGNED_FOR, &options).await;
        let url = signed.map_err(|error| (StorageError::remote(action, error), false))?;
        let mut request = HttpRequest::new(HttpRequestBody::from(body));
        *request.method_mut() = method.clone();
        *request.uri_mut() = url.as_str().parse().map_err(|error: http::uri::InvalidUri| {
            (failure(StorageErrorKind::Other, action, &error.to_string()), false)
        })?;
        let octets = HeaderValue::from_static("application/octet-stream");
        request.headers_mut().insert(http::header::CONTENT_TYPE, octets);
        let lost = |error: object_store::client::HttpError| {
            (failure(StorageErrorKind::Io, action, &error.to_string()), true)
        };
        let answer = self.http.execute(request).await.map_err(lost)?;
        let status = answer.status();
        let body = answer.into_body().bytes().await.map_err(lost)?;
        let refusal: Option<Refusal> = document(&body).ok();
        if status.is_success() && refusal.is_none() {
            return Ok(body);
        }
        Err(explain(action, status, refusal))
    }
}

/// The error of an answer that is none, and whether repeating the request may help.
fn explain(action: &str, status: StatusCode, refusal: Option<Refusal>) -> (StorageError, bool) {
    let full = status == StatusCode::INSUFFICIENT_STORAGE
        || refusal.as_ref().is_some_and(|refusal| says_full(&refusal.code));
    if full {
        let code = refusal.map_or_else(String::new, |refusal| refusal.code);
        return (failure(StorageErrorKind::Full, action, &format!("{status}: {code}")), false);
    }
    let busy = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
        // An error that follows a 200.
        || status.is_success();
    let kind = match status {
        StatusCode::NOT_FOUND => StorageErrorKind::NotFound,
        _ if busy => StorageErrorKind::Io,
        _ => StorageErrorKind::Other,
    };
    let reason = match refusal {
        Some(refusal) => format!("{status}: {} {}", refusal.code, refusal.message),
        None => status.to_string(),
    };
    (failure(kind, action, &reason), busy)
}

fn failure(kind: StorageErrorKind, action: &str, reason: &str) -> StorageError {
    StorageError::new(kind, format!("cannot {action}: {reason}"))
}

fn parse<T: for<'a> Deserialize<'a>>(action: &str, body: &[u8]) -> Result<T, StorageError> {
    document(body).map_err(|error| failure(StorageErrorKind::Other, action, &error.to_string()))
}

/// Why an answer is no document of S3.
#[derive(Debug, thiserror::Error)]
enum DocumentError {
    #[error(transparent)]
    Text(#[from] std::str::Utf8Error),
    #[error(transparent)]
    Xml(#[from] quick_xml::DeError),
}

fn document<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T, DocumentError> {
    Ok(quick_xml::de::from_str(std::str::from_utf8(body)?)?)
}

#[cfg(test)]
mod tests {
    use super::{
        Completed, CompletedPart, Completion, PartsPage, Refusal, UploadsPage, document, explain,
    };
    use crate::StorageErrorKind;
    use http::StatusCode;

    #[test]
    fn documents() {
        let page: UploadsPage = document(
            br#"<?xml version="1.0" encoding="UTF-8"?>
            <ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
              <Bucket>images</Bucket><KeyMarker></KeyMarker><IsTruncated>true</IsTruncated>
              <NextKeyMarker>b</NextKeyMarker><NextUploadIdMarker>2</NextUploadIdMarker>
              <Upload><Key>a</Key><UploadId>1</UploadId><StorageClass>Standard</StorageClass>
                <Initiated>2026-11-22T10:11:12.000Z</Initiated></Upload>
              <Upload><Initiator><ID>x</ID></Initiator><Key>b</Key><UploadId>2</UploadId>
                <Initiated>2026-11-22T10:11:13Z</Initiated></Upload>
            </ListMultipartUploadsResult>"#,
        )
        .unwrap();
        let found: Vec<_> = page.uploads.iter().map(|upload| (&*upload.key, &*upload.id)).collect();
        assert_eq!(found, [("a", "1"), ("b", "2")]);
        assert!(page.is_truncated);
        assert_eq!((&*page.next_key_marker, &*page.next_upload_id_marker), ("b", "2"));
        let empty: UploadsPage = document(
            b"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>\
              </ListMultipartUploadsResult>",
        )
        .unwrap();
        assert!(empty.uploads.is_empty() && !empty.is_truncated);
        let parts: PartsPage = document(
            b"<ListPartsResult><NextPartNumberMarker>7</NextPartNumberMarker>\
              <IsTruncated>true</IsTruncated><Part><PartNumber>7</PartNumber>\
              <LastModified>2026-11-22T10:11:12.345Z</LastModified><Size>1</Size></Part>\
              </ListPartsResult>",
        )
        .unwrap();
        assert_eq!((parts.parts.len(), &*parts.next_part_number_marker), (1, "7"));
        let completed: Completed = document(
            b"<CompleteMultipartUploadResult><ETag>&quot;abc-2&quot;</ETag>\
              </CompleteMultipartUploadResult>",
        )
        .unwrap();
        assert_eq!(completed.e_tag.as_deref(), Some("\"abc-2\""));
        let parts = vec![CompletedPart { number: 3, e_tag: "\"x\"" }];
        let written = quick_xml::se::to_string(&Completion { parts }).unwrap();
        assert!(written.starts_with("<CompleteMultipartUpload><Part><PartNumber>3</PartNumber>"));
    }

    #[test]
    fn refusals() {
        let busy = "<Error><Code>SlowDown</Code><Message>less</Message></Error>";
        let refusal: Refusal = document(busy.as_bytes()).unwrap();
        let (error, again) = explain("do it", StatusCode::OK, Some(refusal));
        assert!(again && error.to_string().contains("SlowDown less"), "{error}");
        let kind = |status| explain("do it", status, None);
        let (gone, again) = kind(StatusCode::NOT_FOUND);
        assert!(!again && gone.kind() == StorageErrorKind::NotFound);
        assert!(kind(StatusCode::SERVICE_UNAVAILABLE).1);
        assert!(!kind(StatusCode::FORBIDDEN).1);
        let (full, again) = kind(StatusCode::INSUFFICIENT_STORAGE);
        assert!(!again && full.kind() == StorageErrorKind::Full);
        assert!(document::<Refusal>(b"<ListPartsResult></ListPartsResult>").is_err());
    }
}
