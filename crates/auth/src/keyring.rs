//! Access keys, looked up in the database and kept for a few seconds.

use std::sync::Arc;
use std::time::Duration;

use berth_metadata::Db;
use berth_metadata::repos::access_key;
use berth_types::Secret;
use moka::future::Cache;

use crate::error::AuthError;
use crate::master_key::MasterKey;

/// A change of a key on another server is seen after at most this time.
const TIME_TO_LIVE: Duration = Duration::from_secs(5);
const CAPACITY: u64 = 10_000;

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
    cache: Cache<String, Option<Arc<AccessKey>>>,
}

impl Keyring {
    pub fn new(db: Db, master: MasterKey) -> Self {
        let cache = Cache::builder().max_capacity(CAPACITY).time_to_live(TIME_TO_LIVE).build();
        Self { db, master, cache }
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
        if let Some(key) = self.cache.get(access_key_id).await {
            return Ok(key);
        }
        let key = self.load(access_key_id).await?.map(Arc::new);
        self.cache.insert(access_key_id.to_owned(), key.clone()).await;
        Ok(key)
    }

    /// Forgets a key that was made, changed or removed by this process.
    pub async fn invalidate(&self, access_key_id: &str) {
        self.cache.invalidate(access_key_id).await;
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
