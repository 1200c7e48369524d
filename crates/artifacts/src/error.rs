//! What can be wrong with a request for artifacts, and which kind of answer it deserves.

use berth_metadata::{DbError, DbErrorKind};
use berth_oci::ManifestError;
use berth_storage::{StorageError, StorageErrorKind};
use berth_tasks::TaskFailure;
use berth_types::{Digest, NameError};

/// The kinds that the registry and the control plane have codes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArtifactErrorKind {
    InstanceNotFound,
    NamespaceNotFound,
    NamespaceExists,
    RepositoryNotFound,
    RepositoryExists,
    TagNotFound,
    /// The repository does not let tags move.
    TagImmutable,
    ManifestUnknown,
    ManifestInvalid,
    ManifestTooLarge,
    /// The manifest names a blob that the repository does not have.
    ManifestBlobUnknown,
    BlobUnknown,
    /// A manifest of the repository names the blob.
    BlobInUse,
    UploadUnknown,
    /// The bytes sent do not continue the upload where it stands.
    UploadRange,
    /// Another request writes to the upload.
    UploadBusy,
    /// The client's stream broke; the upload can be resumed.
    UploadBroken,
    DigestInvalid,
    SizeInvalid,
    BlobTooLarge,
    /// The instance may not hold more.
    QuotaExceeded,
    NameInvalid,
    /// The same request may succeed when repeated.
    Transient,
    /// The server's disk or bucket is full. What was durable stays, and once there is space the same
    /// request may succeed.
    Full,
    Internal,
}

#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error("instance `{0}` does not exist")]
    InstanceNotFound(String),
    #[error("namespace `{0}` does not exist")]
    NamespaceNotFound(String),
    #[error("namespace `{0}` exists already")]
    NamespaceExists(String),
    #[error("repository `{0}` does not exist")]
    RepositoryNotFound(String),
    #[error("namespace `{0}` does not create repositories on push")]
    AutoCreateOff(String),
    #[error("repository `{0}` exists already")]
    RepositoryExists(String),
    #[error("tag `{0}` does not exist")]
    TagNotFound(String),
    #[error("tag `{0}` exists and cannot be overwritten: the repository's tags are immutable")]
    TagImmutable(String),
    #[error("manifest `{0}` is not known to the repository")]
    ManifestUnknown(String),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("manifest is not valid: {0}")]
    ManifestInvalid(String),
    #[error("manifest names blob {0}, which the repository does not have")]
    ManifestBlobUnknown(Digest),
    #[error("blob {0} is not known to the repository")]
    BlobUnknown(Digest),
    #[error("blob {blob} is used by manifest {manifest}")]
    BlobInUse { blob: Digest, manifest: Digest },
    #[error("upload `{0}` is not known to the repository")]
    UploadUnknown(String),
    #[error("the upload continues at byte {received}")]
    UploadRange { received: u64 },
    #[error("another request is writing to upload `{0}`")]
    UploadBusy(String),
    #[error("the upload broke after {received} bytes: {reason}")]
    UploadBroken { received: u64, reason: String },
    #[error("content has digest {actual}, not {expected}")]
    DigestMismatch { expected: Digest, actual: Digest },
    #[error("a blob may have {limit} bytes")]
    BlobTooLarge { limit: u64 },
    #[error("content has {actual} bytes, not {expected}")]
    SizeMismatch { expected: u64, actual: u64 },
    #[error(
        "instance `{instance_id}` holds {used} bytes and may hold {quota}: {asked} more do not fit"
    )]
    StorageQuota { instance_id: String, used: u64, quota: u64, asked: u64 },
    #[error("instance `{instance_id}` has {used} {what} and may have {quota}")]
    CountQuota { instance_id: String, what: &'static str, used: u64, quota: u64 },
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("`{0}` is not a valid namespace name")]
    NamespaceName(String),
    #[error("after a push: {0}")]
    Listener(String),
    #[error("it was told to stop")]
    Stopped,
    #[error(transparent)]
    Database(#[from] DbError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("{0}")]
    Internal(String),
}

/// What an error means for a task that met it where nothing else is known of it.
impl From<ArtifactError> for TaskFailure {
    fn from(error: ArtifactError) -> Self {
        match (error.kind(), error) {
            (_, ArtifactError::Database(error)) => error.into(),
            (ArtifactErrorKind::Full, error) => Self::unavailable(error),
            (_, ArtifactError::Storage(error)) if error.kind() == StorageErrorKind::Io => {
                Self::unavailable(error)
            }
            (_, error) => Self::Transient(error.to_string()),
        }
    }
}

impl ArtifactError {
    pub fn kind(&self) -> ArtifactErrorKind {
        use ArtifactErrorKind as Kind;
        match self {
            Self::InstanceNotFound(_) => Kind::InstanceNotFound,
            Self::NamespaceNotFound(_) => Kind::NamespaceNotFound,
            Self::NamespaceExists(_) => Kind::NamespaceExists,
            Self::RepositoryNotFound(_) | Self::AutoCreateOff(_) => Kind::RepositoryNotFound,
            Self::RepositoryExists(_) => Kind::RepositoryExists,
            Self::TagNotFound(_) => Kind::TagNotFound,
            Self::TagImmutable(_) => Kind::TagImmutable,
            Self::ManifestUnknown(_) => Kind::ManifestUnknown,
            Self::Manifest(ManifestError::TooLarge(_)) => Kind::ManifestTooLarge,
            Self::Manifest(_) | Self::ManifestInvalid(_) => Kind::ManifestInvalid,
            Self::ManifestBlobUnknown(_) => Kind::ManifestBlobUnknown,
            Self::BlobUnknown(_) => Kind::BlobUnknown,
            Self::BlobInUse { .. } => Kind::BlobInUse,
            Self::UploadUnknown(_) => Kind::UploadUnknown,
            Self::UploadRange { .. } => Kind::UploadRange,
            Self::UploadBusy(_) => Kind::UploadBusy,
            Self::UploadBroken { .. } => Kind::UploadBroken,
            Self::DigestMismatch { .. } => Kind::DigestInvalid,
            Self::SizeMismatch { .. } => Kind::SizeInvalid,
            Self::BlobTooLarge { .. } => Kind::BlobTooLarge,
            Self::StorageQuota { .. } | Self::CountQuota { .. } => Kind::QuotaExceeded,
            Self::Name(_) | Self::NamespaceName(_) => Kind::NameInvalid,
            Self::Stopped => Kind::Transient,
            Self::Database(error) if error.kind() == DbErrorKind::Full => Kind::Full,
            Self::Database(error) if error.is_transient() => Kind::Transient,
            Self::Storage(error) if error.kind() == StorageErrorKind::Full => Kind::Full,
            Self::Storage(error) if error.kind() == StorageErrorKind::Io => Kind::Transient,
            Self::Listener(_) | Self::Database(_) | Self::Storage(_) | Self::Internal(_) => {
                Kind::Internal
            }
        }
    }
}
