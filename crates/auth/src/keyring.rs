//! Access keys, looked up in the database and remembered.

use std::sync::Arc;
use std::time::Duration;

use berth_metadata::tables::access_key;
use berth_metadata::{Db, Memory, Subject};
use berth_types::Secret;

use crate::error::AuthError;
use crate::master_key::MasterKey;
use crate::signature::hmac_sha256;

/// A change of a key on another server is seen after at most this time; one on this server at once.
const STALE: Duration = Duration::from_secs(5);
/// Bytes in which keys are remembered, and what one takes besides its texts.
const MEMORY: usize = 4 << 20;
const KEY: usize = 320;
const PRINT: &str = "berth print of a key 1";

/// Whether a key may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStatus {
    Active,
    Inactive,
}

impl KeyStatus {
    /// The name of the status in the database and in RAM's API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::Inactive => "Inactive",
        }
    }
}

/// An access key with its secret opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKey {
    pub access_key_id: String,
    pub account_id: String,
    pub secret: Secret,
    pub status: KeyStatus,
    /// Tells this secret of the key from any other, and nothing about it: what is issued under the
    /// secret carries it, and ends when the key gets another one.
    pub(crate) print: String,
    /// Whether the secret is so short that trying could find it.
    pub(crate) guessable: bool,
}

impl AccessKey {
    pub(crate) fn new(
        access_key_id: &str,
        account_id: &str,
        secret: Secret,
        status: KeyStatus,
        print: String,
    ) -> Self {
        Self {
            access_key_id: access_key_id.to_owned(),
            account_id: account_id.to_owned(),
            guessable: is_guessable(secret.expose()),
            secret,
            status,
            print,
        }
    }
}

/// Twenty characters, eight of them different: at a million guesses a second even twenty words of
/// an alphabet of eight letters take longer than a secret is in use.
fn is_guessable(secret: &str) -> bool {
    let characters: Vec<char> = secret.chars().collect();
    let different: std::collections::HashSet<char> = characters.iter().copied().collect();
    characters.len() < 20 || different.len() < 8
}

/// Looks access keys up by id.
#[derive(Clone)]
pub struct Keyring {
    db: Db,
    master: MasterKey,
    keys: Arc<Memory<Option<Arc<AccessKey>>>>,
}

impl Keyring {
    pub fn new(db: Db, master: MasterKey) -> Self {
        let keys = Arc::new(Memory::new(db.clone(), MEMORY, STALE));
        Self { db, master, keys }
    }

    /// The key of that id, `None` when there is none. Ids that no key can have are not looked up.
    ///
    /// # Errors
    /// [`AuthError::Database`], and [`AuthError::Sealed`] when the master key is not the one that
    /// sealed the secret.
    pub async fn find(&self, access_key_id: &str) -> Result<Option<Arc<AccessKey>>, AuthError> {
        if access_key_id.len() > 128 || access_key_id.contains('\0') {
            return Ok(None);
        }
        let stamp = self.keys.stamp(Subject::AccessKey(access_key_id));
        if let Some(key) = self.keys.get(access_key_id, stamp) {
            return Ok(key);
        }
        let key = self.load(access_key_id).await?.map(Arc::new);
        // Where others write too, a key that is not there may be there the next moment.
        if key.is_some() || self.db.is_sole_writer() {
            self.keys.put(access_key_id, stamp, key.clone(), KEY);
        }
        Ok(key)
    }

    /// The key of that id when there is one and it may be used.
    ///
    /// # Errors
    /// Those of [`Keyring::find`].
    pub async fn active(&self, access_key_id: &str) -> Result<Option<Arc<AccessKey>>, AuthError> {
        let key = self.find(access_key_id).await?;
        Ok(key.filter(|key| key.status == KeyStatus::Active))
    }

    async fn load(&self, access_key_id: &str) -> Result<Option<AccessKey>, AuthError> {
        let mut session = self.db.read().await?;
        let Some(row) = access_key::find(&mut session, access_key_id).await? else {
            return Ok(None);
        };
        let secret = self
            .master
            .open(&row.access_key_id, &row.secret)
            .ok_or_else(|| AuthError::Sealed(row.access_key_id.clone()))?;
        let active = row.status == KeyStatus::Active.name();
        let status = if active { KeyStatus::Active } else { KeyStatus::Inactive };
        let print = print_of(&self.master, &row.access_key_id, &secret);
        Ok(Some(AccessKey::new(&row.access_key_id, &row.account_id, secret, status, print)))
    }
}

fn print_of(master: &MasterKey, access_key_id: &str, secret: &Secret) -> String {
    let text = format!("{access_key_id}\0{}", secret.expose());
    let mac = hmac_sha256(&master.derive(PRINT), text.as_bytes());
    hex::encode(mac.get(..16).unwrap_or(&mac))
}
