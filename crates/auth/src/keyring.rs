//! Access keys, looked up in the database and remembered.

use std::sync::Arc;
use std::time::Duration;

use berth_metadata::tables::access_key;
use berth_metadata::{Db, Memory, Subject};
use berth_types::Secret;

use crate::error::AuthError;
use crate::master_key::MasterKey;

/// A change of a key on another server is seen after at most this time; one on this server at once.
const STALE: Duration = Duration::from_secs(5);
/// Bytes in which keys are remembered, and what one takes besides its texts.
const MEMORY: usize = 4 << 20;
const KEY: usize = 256;

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

    /// The key of that id, `None` when there is none. Ids longer than any key's are not looked up.
    ///
    /// # Errors
    /// [`AuthError::Database`], and [`AuthError::Sealed`] when the master key is not the one that
    /// sealed the secret.
    pub async fn find(&self, access_key_id: &str) -> Result<Option<Arc<AccessKey>>, AuthError> {
        if access_key_id.len() > 128 {
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
        Ok(Some(AccessKey {
            access_key_id: row.access_key_id,
            account_id: row.account_id,
            secret,
            status: if active { KeyStatus::Active } else { KeyStatus::Inactive },
        }))
    }
}
