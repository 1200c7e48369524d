//! [`Auth`]: everything about callers at run time.

use std::sync::Arc;
use std::time::Duration;

use berth_metadata::{Db, DbError};
use berth_types::{Clock, Ctx, Identity};

use crate::access::{Access, Denied, authorize};
use crate::credential::Credential;
use crate::error::{AuthError, HolderError, TokenError};
use crate::guesses::{ClientAddress, Guesses};
use crate::keyring::{AccessKey, KeyStatus, Keyring};
use crate::master_key::MasterKey;
use crate::nonce::{NonceError, NonceJournal, Nonces};
use crate::rate::{RateLimit, Rates, Throttled};
use crate::signature::{SignedRequest, parse};
use crate::token::{TokenHolder, Tokens};

/// What can be configured about authentication.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// How long a docker bearer token holds.
    pub token_ttl: Duration,
    /// How often one access key may ask; `None`: as often as it likes.
    pub key_rate: Option<RateLimit>,
    /// Wrong secrets per minute of one address for one key; 0: no limit.
    pub failed_logins: u32,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self { token_ttl: Duration::from_secs(300), key_rate: None, failed_logins: 0 }
    }
}

/// Authentication and authorisation. Cheap to clone.
#[derive(Clone)]
pub struct Auth(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) keyring: Keyring,
    pub(crate) guesses: Guesses,
    nonces: Nonces,
    pub(crate) master: MasterKey,
    pub(crate) tokens: Tokens,
    rates: Option<Rates<String>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: AuthConfig,
}

impl Auth {
    /// Over a database. On SQLite nonces are remembered as long as this value lives: a server, which
    /// must know them after a restart, uses [`Auth::open`].
    pub fn new(db: Db, master: MasterKey, clock: Arc<dyn Clock>, config: AuthConfig) -> Self {
        let nonces = Nonces::new(&db, &master);
        Self::with(db, master, clock, config, nonces)
    }

    /// As a server has it, with nonces that outlive it. When some may have been lost it takes up to a
    /// second, after which requests with the right time are accepted.
    ///
    /// # Errors
    /// [`NonceError`] when they cannot be kept.
    pub async fn open(
        db: Db,
        master: MasterKey,
        clock: Arc<dyn Clock>,
        config: AuthConfig,
        journal: &NonceJournal,
    ) -> Result<Self, NonceError> {
        let nonces = Nonces::open(&db, &master, journal, clock.now())?;
        tokio::time::sleep(nonces.pause(clock.now())).await;
        Ok(Self::with(db, master, clock, config, nonces))
    }

    /// Forgets what has expired in the database. To be called now and then.
    ///
    /// # Errors
    /// Those of the database; nothing is lost then.
    pub async fn tidy(&self) -> Result<(), DbError> {
        self.0.nonces.forget(self.0.clock.now()).await
    }

    /// To be called when no more requests come: what must be known after a restart is brought to the
    /// disk.
    pub async fn close(&self) {
        self.0.nonces.close().await;
    }

    fn with(
        db: Db,
        master: MasterKey,
        clock: Arc<dyn Clock>,
        config: AuthConfig,
        nonces: Nonces,
    ) -> Self {
        Self(Arc::new(Inner {
            keyring: Keyring::new(db.clone(), master.clone()),
            guesses: Guesses::new(config.failed_logins),
            nonces,
            tokens: Tokens::new(db, &master),
            rates: config.key_rate.map(Rates::new),
            master,
            clock,
            config,
        }))
    }

    /// Where access keys are looked up.
    pub fn keyring(&self) -> &Keyring {
        &self.0.keyring
    }

    /// Who signed the request that came from the address. Its nonce is used up only when the
    /// signature holds, so that nobody can burn the nonces of others.
    ///
    /// # Errors
    /// [`AuthError`], each with the public code of its cause. [`AuthError::Guessing`] takes the place
    /// of those about a wrong secret when they come too often; it is never the answer to a right one.
    pub async fn authenticate(
        &self,
        request: &SignedRequest<'_>,
        address: ClientAddress,
    ) -> Result<Credential, AuthError> {
        let now = self.0.clock.now();
        let claimed = parse(request)?;
        claimed.check_freshness(now)?;
        let temporary = claimed.access_key_id.starts_with("STS.");
        if temporary && claimed.security_token.is_none() {
            return Err(AuthError::MissingSecurityToken);
        }
        let key_id = &claimed.access_key_id;
        let key = self.0.keyring.find(key_id).await?;
        let turn = self.0.guesses.turn(address, key_id, key.as_deref()).await;
        let turn = turn.map_err(AuthError::Guessing)?;
        let Some(key) = key else {
            turn.wrong().map_err(AuthError::Guessing)?;
            return Err(AuthError::KeyNotFound);
        };
        if key.status == KeyStatus::Inactive {
            return Err(AuthError::KeyInactive);
        }
        if let Err(mismatch) = claimed.check(&key.secret) {
            turn.wrong().map_err(AuthError::Guessing)?;
            return Err(mismatch);
        }
        turn.right();
        if claimed.security_token.is_some() && !temporary {
            return Err(AuthError::SecurityTokenMismatch);
        }
        let nonces = &self.0.nonces;
        nonces.consume(&key.access_key_id, &claimed.nonce, claimed.timestamp, now).await?;
        Ok(Credential::of_key(&key))
    }

    /// Who holds a bearer token, and what it says. A token ends before its time when the access key
    /// that it goes back to does, or gets another secret.
    ///
    /// # Errors
    /// [`HolderError::Token`] when it is forged, expired, for another service or of a key that may
    /// not be used; [`HolderError::Internal`].
    pub async fn verify_token(
        &self,
        token: &str,
        service: &str,
    ) -> Result<Arc<TokenHolder>, HolderError> {
        let holder = self.0.tokens.read(token)?;
        holder.check(service, self.0.clock.now())?;
        if let Some(access_key_id) = &holder.identity.access_key_id {
            let key = self.0.keyring.active(access_key_id).await?;
            let same = |key: &AccessKey| {
                key.account_id == holder.identity.account_id
                    && holder.claims.print.as_ref() == Some(&key.print)
            };
            if key.is_none_or(|key| !same(&key)) {
                return Err(TokenError::Revoked.into());
            }
        }
        Ok(holder)
    }

    /// Takes one request from what the caller's access key may ask. To be called once per request,
    /// after the credentials were found good: nobody can use up the allowance of others.
    ///
    /// # Errors
    /// [`Throttled`].
    pub fn admit(&self, identity: &Identity) -> Result<(), Throttled> {
        match (&self.0.rates, &identity.access_key_id) {
            (Some(rates), Some(key)) => rates.take(key).inspect_err(|_| {
                metrics::counter!("berth_refused_total", "reason" => "key_rate").increment(1);
            }),
            _ => Ok(()),
        }
    }

    /// Whether the caller may do the action to the resource.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn authorize(&self, ctx: &Ctx, access: &Access<'_>) -> Result<(), Box<Denied>> {
        authorize(ctx, access)
    }
}
