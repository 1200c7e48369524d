//! The key under which every secret of the database is sealed, and from which signing keys come.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, Key, KeyInit as _, Nonce};
use berth_types::Secret;
use rand::RngCore as _;

use crate::signature::hmac_sha256;

const NONCE_LEN: usize = 12;

/// 32 random bytes. Every server of one installation must have the same.
#[derive(Clone)]
pub struct MasterKey([u8; 32]);

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    #[error("the master key must be 64 hexadecimal digits")]
    Form,
    #[error("cannot use the master key file {path}: {source}")]
    File { path: String, source: io::Error },
}

impl MasterKey {
    /// A new random key.
    pub fn generate() -> Self {
        let mut bytes = [0; 32];
        rand::rng().fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// From 64 hexadecimal digits, as configured where several servers share a database.
    ///
    /// # Errors
    /// [`MasterKeyError::Form`] for anything else.
    pub fn from_text(text: &str) -> Result<Self, MasterKeyError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.trim(), &mut bytes).map_err(|_| MasterKeyError::Form)?;
        Ok(Self(bytes))
    }

    /// From a file of 64 hexadecimal digits, which is made (mode 0600) when it is missing. Two
    /// servers that start at once end up with the same key, and a crash leaves a whole file or none.
    ///
    /// # Errors
    /// [`MasterKeyError`] when the file cannot be read, made or understood.
    pub fn load_or_create(path: &Path) -> Result<Self, MasterKeyError> {
        let failed = |source| MasterKeyError::File { path: path.display().to_string(), source };
        match fs::read_to_string(path) {
            Ok(text) => {
                let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
                if mode & 0o077 != 0 {
                    tracing::warn!(path = %path.display(), "others may read the master key file");
                }
                Self::from_text(&text)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Self::generate().store(path).map_err(failed)?;
                let text = fs::read_to_string(path).map_err(failed)?;
                Self::from_text(&text)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Writes the key beside `path` and links it there, unless another process was faster.
    fn store(&self, path: &Path) -> io::Result<()> {
        let suffix = MasterKey::generate();
        let mut draft = path.as_os_str().to_owned();
        draft.push(format!(".{}", hex::encode(&suffix.0[..8])));
        let draft = Path::new(&draft);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
        let written = file
            .write_all(format!("{}\n", hex::encode(self.0)).as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| match fs::hard_link(draft, path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                linked => linked,
            });
        fs::remove_file(draft)?;
        written?;
        match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }

    /// A key for one purpose.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        hmac_sha256(&self.0, purpose.as_bytes())
    }

    /// Seals a secret with AES-256-GCM: nonce, ciphertext, tag. `owner` must be given again to open
    /// it, so that a sealed secret cannot be moved to another row.
    ///
    /// # Panics
    /// Never: the cipher refuses only texts of many gigabytes.
    pub fn seal(&self, owner: &str, secret: &Secret) -> Vec<u8> {
        let mut sealed = vec![0; NONCE_LEN];
        rand::rng().fill_bytes(&mut sealed);
        let payload = Payload { msg: secret.expose().as_bytes(), aad: owner.as_bytes() };
        let ciphertext = self.cipher().encrypt(Nonce::from_slice(&sealed), payload);
        match ciphertext {
            Ok(ciphertext) => sealed.extend_from_slice(&ciphertext),
            Err(_) => unreachable!("a secret is far shorter than the cipher's limit"),
        }
        sealed
    }

    /// Opens a sealed secret; `None` when it was sealed under another key or for another owner.
    pub fn open(&self, owner: &str, sealed: &[u8]) -> Option<Secret> {
        let (nonce, ciphertext) = sealed.split_at_checked(NONCE_LEN)?;
        let payload = Payload { msg: ciphertext, aad: owner.as_bytes() };
        let plain = self.cipher().decrypt(Nonce::from_slice(nonce), payload).ok()?;
        String::from_utf8(plain).ok().map(Secret::new)
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(Key::<Aes256Gcm>::from_slice(&self.0))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_for_its_owner_alone() {
        let key = MasterKey::generate();
        let secret = Secret::new("s3cret");
        let mut sealed = key.seal("id", &secret);
        assert_eq!(key.open("id", &sealed), Some(secret.clone()));
        assert_ne!(key.seal("id", &secret), sealed, "every seal has its own nonce");
        assert_eq!(key.open("other", &sealed), None);
        assert_eq!(MasterKey::generate().open("id", &sealed), None);
        assert_eq!(key.open("id", &sealed[..8]), None);
        if let Some(byte) = sealed.last_mut() {
            *byte ^= 1;
        }
        assert_eq!(key.open("id", &sealed), None);
    }

    #[test]
    fn the_file_is_made_once_and_private() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("master.key");
        let first = MasterKey::load_or_create(&path).expect("made");
        let second = MasterKey::load_or_create(&path).expect("read");
        assert_eq!(first.0, second.0);
        let mode = fs::metadata(&path).expect("file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 1);
        fs::write(&path, "short").expect("written");
        assert!(matches!(MasterKey::load_or_create(&path), Err(MasterKeyError::Form)));
    }
}
