//! Which nonces were seen: a signed request is accepted once, wherever it arrives, for as long as its
//! date is accepted (ADR 14).
//!
//! A single server on SQLite remembers in memory and in a [`Journal`], servers that share PostgreSQL
//! in a table of it.

mod journal;
mod memory;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use berth_metadata::tables::nonce;
use berth_metadata::{Db, DbError, Engine};
use berth_types::Millis;

use self::journal::Journal;
use self::memory::{Outcome, Seen};
use crate::error::AuthError;
use crate::master_key::MasterKey;
use crate::signature::{MAX_SKEW, hmac_sha256};

/// How long rows stay after their time, for servers whose clocks are behind.
const CLOCKS_DIFFER: Millis = 15 * 60_000;

/// Where a single server keeps the nonces that it must know after a restart.
#[derive(Debug, Clone)]
pub struct NonceJournal {
    /// A folder of its own.
    pub folder: PathBuf,
    /// Whether no signed request was ever accepted before, so that a journal that is not there is
    /// none that was lost.
    pub first_start: bool,
}

/// Why nonces cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep the nonces of signed requests in {}: {source}", folder.display())]
pub struct NonceError {
    folder: PathBuf,
    source: io::Error,
}

/// The nonces that could still be replayed.
pub(crate) struct Nonces {
    key: [u8; 32],
    place: Place,
    /// Dates before it are refused: nonces of such requests may have been lost.
    since: Option<Millis>,
}

enum Place {
    Here(Mutex<Here>),
    Shared(Db),
}

struct Here {
    seen: Seen,
    journal: Option<Journal>,
}

impl Nonces {
    /// In the database when servers share it, else in memory alone.
    pub(crate) fn new(db: &Db, master: &MasterKey) -> Self {
        let place = match db.engine() {
            Engine::Postgres => Place::Shared(db.clone()),
            Engine::Sqlite => {
                Place::Here(Mutex::new(Here { seen: Seen::default(), journal: None }))
            }
        };
        Self { key: master.derive("berth nonce 1"), place, since: None }
    }

    /// In the database when servers share it, else in memory and in the journal.
    ///
    /// # Errors
    /// [`NonceError`] when the journal cannot be read or begun.
    pub(crate) fn open(
        db: &Db,
        master: &MasterKey,
        journal: &NonceJournal,
        now: Millis,
    ) -> Result<Self, NonceError> {
        let mut nonces = Self::new(db, master);
        let Place::Here(here) = &nonces.place else { return Ok(nonces) };
        let failed = |source| NonceError { folder: journal.folder.clone(), source };
        let opened = Journal::open(&journal.folder, now).map_err(failed)?;
        let mut here = lock(here);
        for (hash, expires_at) in opened.found {
            here.seen.insert(hash, now, expires_at);
        }
        here.journal = Some(opened.journal);
        drop(here);
        if !opened.whole && !journal.first_start {
            // Dates have whole seconds.
            let since = now.saturating_add(999).div_euclid(1000).saturating_mul(1000);
            tracing::warn!(
                folder = %journal.folder.display(),
                "nonces may have been lost; signed requests dated before this start are refused"
            );
            nonces.since = Some(since);
        }
        Ok(nonces)
    }

    /// Until when it should not be asked: requests of now would be refused.
    pub(crate) fn pause(&self, now: Millis) -> Duration {
        let left = self.since.map_or(0, |since| since.saturating_sub(now));
        Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }

    /// Uses the nonce of a request of that date up.
    ///
    /// # Errors
    /// [`AuthError::NonceUsed`]; [`AuthError::TimestampExpired`] when it may have been used before
    /// nonces were lost; [`AuthError::Throttled`] when there are too many; [`AuthError::Database`],
    /// [`AuthError::Nonces`].
    pub(crate) async fn consume(
        &self,
        access_key_id: &str,
        nonce: &str,
        date: Millis,
        now: Millis,
    ) -> Result<(), AuthError> {
        if self.since.is_some_and(|since| date < since) {
            return Err(AuthError::TimestampExpired);
        }
        let hash = self.hash(access_key_id, nonce);
        let expires_at = date.saturating_add(MAX_SKEW);
        let here = match &self.place {
            Place::Here(here) => here,
            Place::Shared(db) => {
                let mut session = db.begin().await?;
                let fresh = nonce::insert(&mut session, hash, expires_at).await?;
                session.commit().await?;
                return if fresh { Ok(()) } else { Err(AuthError::NonceUsed) };
            }
        };
        let file = {
            let mut here = lock(here);
            match here.seen.consume(hash, now, expires_at) {
                Outcome::Fresh => {}
                Outcome::Used => return Err(AuthError::NonceUsed),
                Outcome::Full => return Err(AuthError::Throttled),
            }
            let Some(journal) = &mut here.journal else { return Ok(()) };
            journal.append(hash, expires_at, now).map_err(AuthError::Nonces)?;
            // After a power failure what is dated before the new start is refused; what is dated
            // later than now might not be.
            (date > now).then(|| journal.file())
        };
        match file {
            None => Ok(()),
            Some(file) => sync(file).await.map_err(AuthError::Nonces),
        }
    }

    /// Removes what has expired from a shared place; memory does so by itself.
    pub(crate) async fn forget(&self, now: Millis) -> Result<(), DbError> {
        let Place::Shared(db) = &self.place else { return Ok(()) };
        loop {
            let mut session = db.begin_relaxed().await?;
            let more = nonce::delete_expired(&mut session, now - CLOCKS_DIFFER).await?;
            session.commit().await?;
            if !more {
                return Ok(());
            }
        }
    }

    /// Makes the journal whole for a start after the machine's own restart.
    pub(crate) async fn close(&self) {
        let Place::Here(here) = &self.place else { return };
        let Some(journal) = lock(here).journal.take() else { return };
        let closed = tokio::task::spawn_blocking(move || journal.close()).await;
        if let Err(error) = closed.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::warn!(%error, "the journal of nonces is not known to be whole");
        }
    }

    fn hash(&self, access_key_id: &str, nonce: &str) -> i64 {
        let mac = hmac_sha256(&self.key, format!("{access_key_id}\0{nonce}").as_bytes());
        let mut first = [0; 8];
        first.iter_mut().zip(mac).for_each(|(to, from)| *to = from);
        i64::from_le_bytes(first)
    }
}

fn lock(here: &Mutex<Here>) -> MutexGuard<'_, Here> {
    here.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn sync(file: Arc<std::fs::File>) -> io::Result<()> {
    let synced = tokio::task::spawn_blocking(move || file.sync_data()).await;
    synced.unwrap_or_else(|error| Err(io::Error::other(error)))
}
