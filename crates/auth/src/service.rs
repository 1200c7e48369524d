//! [`Auth`]: everything about callers at run time.

use std::sync::Arc;
use std::time::Duration;

use berth_metadata::Db;
use berth_types::{Clock, Ctx, Identity, Millis, Secret};

use crate::access::{Access, Denied, authorize};
use crate::authorization_token::{TEMP_USERNAME, TempPassword};
use crate::error::{AuthError, LoginError, TokenError, VerifyError};
use crate::keyring::{AccessKey, KeyStatus, Keyring};
use crate::master_key::MasterKey;
use crate::nonce::{NonceCache, NonceOutcome};
use crate::rate::{RateLimit, Rates, Throttled};
use crate::signature::{MAX_SKEW, SignedRequest, parse};
use crate::token::{Caller, Grant, IssuedToken, Tokens};

/// What can be configured about authentication.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// How long a docker bearer token holds.
    pub token_ttl: Duration,
    /// How often one access key may ask; `None`: as often as it likes.
    pub key_rate: Option<RateLimit>,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self { token_ttl: Duration::from_secs(300), key_rate: None }
    }
}

/// Authentication and authorisation. Cheap to clone.
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

struct Inner {
    keyring: Keyring,
    nonces: NonceCache,
    master: MasterKey,
    tokens: Tokens,
    rates: Option<Rates<String>>,
    clock: Arc<dyn Clock>,
    config: AuthConfig,
}

impl Auth {
    pub fn new(db: Db, master: MasterKey, clock: Arc<dyn Clock>, config: AuthConfig) -> Self {
        Self(Arc::new(Inner {
            keyring: Keyring::new(db.clone(), master.clone()),
            nonces: NonceCache::default(),
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

    /// Who signed the request. Its nonce is used up only when the signature holds, so that nobody
    /// can burn the nonces of others.
    ///
    /// # Errors
    /// [`AuthError`], each with the public code of its cause.
    pub async fn authenticate(&self, request: &SignedRequest<'_>) -> Result<Identity, AuthError> {
        let now = self.0.clock.now();
        let claimed = parse(request)?;
        claimed.check_freshness(now)?;
        let temporary = claimed.access_key_id.starts_with("STS.");
        if temporary && claimed.security_token.is_none() {
            return Err(AuthError::MissingSecurityToken);
        }
        let key = self.0.keyring.find(&claimed.access_key_id).await?;
        let key = key.ok_or(AuthError::KeyNotFound)?;
        if key.status == KeyStatus::Inactive {
            return Err(AuthError::KeyInactive);
        }
        claimed.check(&key.secret)?;
        if claimed.security_token.is_some() && !temporary {
            return Err(AuthError::SecurityTokenMismatch);
        }
        let replayable_until = claimed.timestamp.saturating_add(MAX_SKEW);
        match self.0.nonces.consume(&key.access_key_id, &claimed.nonce, now, replayable_until) {
            NonceOutcome::Fresh => Ok(identity_of(&key)),
            NonceOutcome::Used => Err(AuthError::NonceUsed),
            NonceOutcome::Full => Err(AuthError::Throttled),
        }
    }

    /// Who logs in to the registry of the instance: an access key with its secret, or
    /// [`TEMP_USERNAME`] with a temporary password.
    ///
    /// # Errors
    /// [`LoginError::Refused`] without any reason, so that keys cannot be guessed one half at a
    /// time; [`LoginError::Internal`].
    pub async fn login(
        &self,
        username: &str,
        password: &str,
        instance_id: &str,
    ) -> Result<Identity, LoginError> {
        if username == TEMP_USERNAME {
            return self.login_temporarily(password, instance_id).await;
        }
        let key = self.active_key(username).await?;
        if key.secret != Secret::new(password) {
            return Err(LoginError::Refused);
        }
        Ok(identity_of(&key))
    }

    async fn login_temporarily(
        &self,
        password: &str,
        instance_id: &str,
    ) -> Result<Identity, LoginError> {
        let password = TempPassword::read(password, &self.0.master, self.0.clock.now())
            .filter(|password| password.instance_id == instance_id)
            .ok_or(LoginError::Refused)?;
        Ok(identity_of(&*self.active_key(&password.access_key_id).await?))
    }

    async fn active_key(&self, access_key_id: &str) -> Result<Arc<AccessKey>, LoginError> {
        self.0.keyring.active(access_key_id).await?.ok_or(LoginError::Refused)
    }

    /// A temporary password for the caller, and when it ends; `None` for a caller without a key.
    pub fn issue_temp_password(
        &self,
        identity: &Identity,
        instance_id: &str,
        time_to_live: Duration,
    ) -> Option<(String, Millis)> {
        let millis = Millis::try_from(time_to_live.as_millis()).unwrap_or(Millis::MAX);
        let password = TempPassword {
            access_key_id: identity.access_key_id.clone()?,
            instance_id: instance_id.to_owned(),
            expires_at: self.0.clock.now().saturating_add(millis),
        };
        Some((password.issue(&self.0.master), password.expires_at))
    }

    /// A bearer token for the caller with what was granted to it.
    ///
    /// # Errors
    /// [`TokenError::Issue`] when the token cannot be written, which has no cause in the caller.
    pub fn issue_token(
        &self,
        identity: &Identity,
        service: &str,
        access: Vec<Grant>,
    ) -> Result<IssuedToken, TokenError> {
        let seconds = self.0.config.token_ttl.as_secs();
        self.0.tokens.issue(identity, service, access, self.0.clock.now(), seconds)
    }

    /// Who holds a bearer token, and what it says. A token ends before its time when the access key
    /// that it was issued to does.
    ///
    /// # Errors
    /// [`VerifyError::Token`] when it is forged, expired, for another service or of a key that may
    /// not be used; [`VerifyError::Internal`].
    pub async fn verify_token(
        &self,
        token: &str,
        service: &str,
    ) -> Result<Arc<Caller>, VerifyError> {
        let caller = self.0.tokens.read(token)?;
        caller.check(service, self.0.clock.now())?;
        if let Some(access_key_id) = &caller.identity.access_key_id {
            let key = self.0.keyring.active(access_key_id).await?;
            if key.is_none_or(|key| key.account_id != caller.identity.account_id) {
                return Err(TokenError::Revoked.into());
            }
        }
        Ok(caller)
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

fn identity_of(key: &AccessKey) -> Identity {
    Identity::root(&key.account_id, &key.access_key_id)
}
