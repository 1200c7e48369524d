//! TLS: the certificate that the listener shows. It is replaced while the server runs, so that a
//! renewal needs no restart: files of the operator are watched, a certificate of Berth's own
//! authority is issued again before it ends.

mod authority;
mod files;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use berth_types::{Clock as _, Millis, SystemClock};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use authority::OwnAuthority;
use files::CertificateFiles;

/// Time between two looks at the source of the certificate. A look at files is two `stat` calls.
const POLL: Duration = Duration::from_secs(2);

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {what} from {}: {source}", path.display())]
    Pem { what: &'static str, path: PathBuf, source: pem::Error },
    #[error("{} holds no certificate", path.display())]
    NoCertificate { path: PathBuf },
    #[error("certificate and key cannot be used: {0}")]
    Rejected(#[from] rustls::Error),
    #[error("cannot use {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("cannot make a certificate: {0}")]
    Generate(#[from] rcgen::Error),
    #[error("`{name}` of server.tls_names is no host name and no address")]
    Name { name: String },
    #[error(
        "the certificate authority in {} does not vouch for its own certificates: {source} \
         (to make a new one, remove the folder, start again and hand out the new ca.pem)",
        folder.display()
    )]
    Authority { folder: PathBuf, source: rustls::Error },
}

/// Where the certificate comes from.
enum Source {
    Files(CertificateFiles),
    Own(OwnAuthority),
}

impl Source {
    /// A new certificate, when the one in use has to be replaced.
    fn renew(&mut self, now: Millis) -> Result<Option<CertifiedKey>, TlsError> {
        match self {
            Self::Files(files) => files.load_changed(),
            Self::Own(authority) => authority.renew(now),
        }
    }
}

/// The certificate of a running listener and where the next one comes from.
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    shown: Arc<Shown>,
    source: Source,
}

impl Tls {
    /// What the configuration asks for; `None` is plain HTTP.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what is wrong with it.
    pub(crate) fn open(config: &Config) -> Result<Option<Self>, TlsError> {
        let server = &config.server;
        let mut source = match (&server.tls_cert, &server.tls_key) {
            (Some(certificate), Some(key)) => {
                Source::Files(CertificateFiles::new(certificate, key))
            }
            _ if server.tls_own_ca => {
                let names = authority::names(&server.tls_names, server.listen.ip())?;
                let folder = config.in_data_dir("tls");
                Source::Own(OwnAuthority::open(&folder, names, SystemClock.now())?)
            }
            _ => return Ok(None),
        };
        let first =
            source.renew(SystemClock.now())?.ok_or(rustls::Error::NoCertificatesPresented)?;
        let shown = Arc::new(Shown(RwLock::new(Arc::new(first))));
        let mut tls = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Some(Self { acceptor: TlsAcceptor::from(Arc::new(tls)), shown, source }))
    }

    /// What turns a connection into a TLS connection, always with the newest certificate.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// The certificate to hand to clients, when it is Berth's own authority that signs.
    pub(crate) fn authority_file(&self) -> Option<PathBuf> {
        match &self.source {
            Source::Files(_) => None,
            Source::Own(authority) => Some(authority.certificate_file()),
        }
    }

    /// Replaces the certificate whenever its source has a new one, until `shutdown` fires. A source
    /// that fails is told once and asked again; the certificate in use stays.
    pub(crate) async fn keep_fresh(self, shutdown: CancellationToken) {
        let Self { shown, mut source, .. } = self;
        let mut told = String::new();
        loop {
            tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                () = shutdown.cancelled() => return,
            }
            let look = tokio::task::spawn_blocking(move || {
                let renewed = source.renew(SystemClock.now());
                (source, renewed)
            });
            // The task is neither aborted nor does it panic, unless the runtime ends.
            let Ok((back, renewed)) = look.await else { return };
            source = back;
            match renewed {
                Ok(None) => {}
                Ok(Some(certificate)) => {
                    shown.replace(certificate);
                    told.clear();
                    tracing::info!("the TLS certificate was replaced");
                }
                Err(error) => {
                    let text = error.to_string();
                    if text != told {
                        tracing::error!(%error, "the TLS certificate cannot be replaced");
                        told = text;
                    }
                }
            }
        }
    }
}

/// The certificate that the next handshake shows.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl Shown {
    fn replace(&self, certificate: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certificate);
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> TlsError + use<> {
    let path = path.to_owned();
    move |source| TlsError::File { path, source }
}

fn pem_error(what: &'static str, path: &Path) -> impl FnOnce(pem::Error) -> TlsError + use<> {
    let path = path.to_owned();
    move |source| TlsError::Pem { what, path, source }
}
