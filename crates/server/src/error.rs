//! Why a server does not start.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::ConfigError;
use crate::tls::TlsError;

/// Why a server does not start. Every text says which input is wrong.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot use the data directory {}: {source}", path.display())]
    DataDir { path: PathBuf, source: std::io::Error },
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot open the database: {0}")]
    Database(#[from] berth_metadata::DbError),
    #[error("cannot open the blob store: {0}")]
    Storage(#[from] berth_storage::StorageError),
    #[error(transparent)]
    MasterKey(#[from] berth_auth::MasterKeyError),
    #[error(transparent)]
    Nonces(#[from] berth_auth::NonceError),
    #[error(transparent)]
    Bootstrap(#[from] berth_auth::bootstrap::BootstrapError),
    #[error("cannot use the scratch folder {}: {source}", path.display())]
    Scratch { path: PathBuf, source: std::io::Error },
    #[error("cannot read the certificate authorities of provider {provider} from {}: {source}",
        path.display())]
    ProviderCa { provider: String, path: PathBuf, source: std::io::Error },
    #[error("cannot write {}: {source}", path.display())]
    Credentials { path: PathBuf, source: std::io::Error },
}
