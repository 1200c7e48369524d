//! Errors of the services as errors of the protocol.

use berth_artifacts::{ArtifactError, ArtifactErrorKind as Kind};
use serde_json::json;

use crate::error::{Code, OciError};

/// The answer for an error of a service.
pub(crate) fn artifact_error(error: ArtifactError) -> OciError {
    let code = match error.kind() {
        Kind::InstanceNotFound | Kind::NamespaceNotFound | Kind::RepositoryNotFound => {
            Code::NameUnknown
        }
        Kind::NameInvalid => Code::NameInvalid,
        Kind::TagNotFound | Kind::ManifestUnknown => Code::ManifestUnknown,
        Kind::TagImmutable | Kind::BlobInUse | Kind::QuotaExceeded => Code::Denied,
        Kind::NamespaceExists | Kind::RepositoryExists => Code::Unavailable,
        Kind::Transient => return OciError::unavailable(&error),
        Kind::Full => return OciError::full(&error),
        Kind::ManifestInvalid => Code::ManifestInvalid,
        Kind::ManifestTooLarge => Code::ManifestTooLarge,
        Kind::ManifestBlobUnknown => Code::ManifestBlobUnknown,
        Kind::BlobUnknown => Code::BlobUnknown,
        Kind::UploadUnknown => Code::BlobUploadUnknown,
        Kind::UploadRange => Code::ChunkRange,
        Kind::UploadBusy | Kind::UploadBroken => Code::BlobUploadInvalid,
        Kind::DigestInvalid => Code::DigestInvalid,
        Kind::SizeInvalid => Code::SizeInvalid,
        Kind::BlobTooLarge => Code::BlobTooLarge,
        Kind::Internal => return OciError::internal(&error),
    };
    let answer = OciError::new(code, error.to_string());
    match error {
        ArtifactError::UploadRange { received } => OciError::wrong_offset(received),
        ArtifactError::ManifestBlobUnknown(digest) | ArtifactError::BlobUnknown(digest) => {
            answer.with_detail(json!({ "digest": digest }))
        }
        ArtifactError::ManifestUnknown(reference) => {
            answer.with_detail(json!({ "reference": reference }))
        }
        ArtifactError::DigestMismatch { expected, actual } => {
            answer.with_detail(json!({ "expected": expected, "actual": actual }))
        }
        _ => answer,
    }
}
