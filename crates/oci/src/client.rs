//! The client for registries that are not this one.
//!
//! Every connection goes through one dialer that checks the address at connect time; redirects,
//! realms, `Link` and `Location` are followed by hand under the same checks.

mod address;
mod authorization;
mod blobs;
mod challenge;
mod config;
mod dialer;
mod error;
mod file_body;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod manifests;
mod push;
mod rate;
mod realm;
mod referrers;
mod transport;

use std::sync::Arc;

use berth_types::RepoName;
use url::Url;

pub use address::Allow;
pub use blobs::BlobStream;
pub use config::{ClientConfig, Credentials, RetryPolicy};
pub use error::{ClientError, ClientErrorKind};
pub use manifests::{FetchedManifest, ManifestHead};
pub use push::BlobSource;

use authorization::Authorization;
use dialer::Dialer;

/// A client of one registry. Clones share connections, tokens and limits.
#[derive(Clone)]
pub struct RegistryClient {
    inner: Arc<Inner>,
}

struct Inner {
    config: ClientConfig,
    base: Url,
    dialer: Dialer,
    authorization: Authorization,
}

impl RegistryClient {
    /// Prepares a client; nothing is contacted yet.
    ///
    /// # Errors
    /// [`ClientError::Config`] for a malformed host, proxy or certificate.
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        let base = config.base()?;
        let dialer = Dialer::new(&config)?;
        let authorization = Authorization::default();
        Ok(Self { inner: Arc::new(Inner { config, base, dialer, authorization }) })
    }

    /// `host[:port]` as configured.
    pub fn host(&self) -> &str {
        &self.inner.config.host
    }

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.inner.config
    }

    pub(crate) fn base(&self) -> &Url {
        &self.inner.base
    }

    pub(crate) fn dialer(&self) -> &Dialer {
        &self.inner.dialer
    }

    pub(crate) fn authorization(&self) -> &Authorization {
        &self.inner.authorization
    }

    /// `/v2/<repository>/<rest>`; the name must follow the specification's grammar, where other
    /// registries also have names of a single component.
    pub(crate) fn url(&self, repository: &str, rest: &str) -> Result<Url, ClientError> {
        if format!("x/{repository}").parse::<RepoName>().is_err() {
            let reason = format!("`{repository}` is not a repository name");
            return Err(ClientError::Config(reason));
        }
        let mut url = self.base().clone();
        url.set_path(&format!("/v2/{repository}/{rest}"));
        Ok(url)
    }
}
