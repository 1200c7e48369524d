//! The key under which every secret of the database is sealed, and from which signing keys come.

mod file;

use std::fmt;
use std::io;

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, Key, KeyInit as _, Nonce};
use berth_metadata::DbError;
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
    #[error(
        "the master key file {path} is missing, and only its key opens the secrets in the database; \
         nothing was changed: put a copy of the file back, or name it with server.master_key_file"
    )]
    Missing { path: String },
    #[error(
        "the master key in {path} is not the one that sealed the secrets in the database; nothing \
         was changed: put the right file in its place, or name it with server.master_key_file"
    )]
    Wrong { path: String },
    #[error("cannot compare the master key with the database: {0}")]
    Database(#[from] DbError),
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
}
