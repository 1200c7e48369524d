//! A certificate chain and key in two PEM files of the operator, read again when they change.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::{TlsError, file_error, pem_error, provider};

/// The two files and what they looked like when they were last read with success.
pub(super) struct CertificateFiles {
    certificate: PathBuf,
    key: PathBuf,
    read: Option<[Look; 2]>,
}

/// What tells one state of a file from another: device, inode, size and both times. Renewals replace
/// the file or a link to its folder, so the inode alone would do in most cases.
type Look = [i64; 7];

impl CertificateFiles {
    pub(super) fn new(certificate: &Path, key: &Path) -> Self {
        Self { certificate: certificate.to_owned(), key: key.to_owned(), read: None }
    }

    /// The pair, when it is not the one that was read last. Files that do not belong together, as
    /// between the two steps of a renewal, are an error and are looked at again next time.
    pub(super) fn load_changed(&mut self) -> Result<Option<CertifiedKey>, TlsError> {
        // Looked at first: a change while the files are read is seen the next time.
        let look = [look(&self.certificate)?, look(&self.key)?];
        if self.read == Some(look) {
            return Ok(None);
        }
        let loaded = load(&self.certificate, &self.key)?;
        self.read = Some(look);
        Ok(Some(loaded))
    }
}

fn look(path: &Path) -> Result<Look, TlsError> {
    let file = std::fs::metadata(path).map_err(file_error(path))?;
    Ok([
        file.dev().cast_signed(),
        file.ino().cast_signed(),
        file.size().cast_signed(),
        file.mtime(),
        file.mtime_nsec(),
        file.ctime(),
        file.ctime_nsec(),
    ])
}

fn load(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(pem_error("the certificate chain", certificate))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: certificate.to_owned() });
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(pem_error("the private key", key))?;
    Ok(CertifiedKey::from_der(chain, key, &provider())?)
}
