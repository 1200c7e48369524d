//! Logins to the registry, and what is issued to those who are in.

use std::time::Duration;

use berth_types::{Millis, Secret};

use crate::authorization_token::{AuthorizationToken, Purpose, TEMP_USERNAME};
use crate::credential::Credential;
use crate::error::{LoginError, TokenError};
use crate::guesses::ClientAddress;
use crate::service::Auth;
use crate::token::{Grant, IssuedToken};

/// How long a refresh token holds, unless what it came from ends before.
const REFRESH_TOKEN_TTL: Duration = Duration::from_secs(24 * 3600);
/// Under which name wrong refresh tokens are counted.
const REFRESH: &str = "refresh token";

impl Auth {
    /// Who logs in to the registry of the instance: an access key with its secret, or
    /// [`TEMP_USERNAME`] with a temporary password.
    ///
    /// # Errors
    /// [`LoginError::Refused`] without any reason, so that keys cannot be guessed one half at a
    /// time; [`LoginError::Guessing`] in its place when that happens too often; never for a right
    /// password. [`LoginError::Internal`].
    pub async fn login(
        &self,
        username: &str,
        password: &str,
        instance_id: &str,
        address: ClientAddress,
    ) -> Result<Credential, LoginError> {
        if username == TEMP_USERNAME {
            return self.redeem(username, password, Purpose::Password, instance_id, address).await;
        }
        let key = self.0.keyring.active(username).await?;
        let turn = self.0.guesses.turn(address, username, key.as_deref()).await;
        let turn = turn.map_err(LoginError::Guessing)?;
        match key.filter(|key| key.secret == Secret::new(password)) {
            Some(key) => {
                turn.right();
                Ok(Credential::of_key(&key))
            }
            None => Err(turn.wrong().map_or_else(LoginError::Guessing, |()| LoginError::Refused)),
        }
    }

    /// Whose refresh token it is, issued for the registry of the instance.
    ///
    /// # Errors
    /// As of [`Auth::login`].
    pub async fn refresh(
        &self,
        token: &str,
        instance_id: &str,
        address: ClientAddress,
    ) -> Result<Credential, LoginError> {
        self.redeem(REFRESH, token, Purpose::RefreshToken, instance_id, address).await
    }

    async fn redeem(
        &self,
        counted_as: &str,
        text: &str,
        purpose: Purpose,
        instance_id: &str,
        address: ClientAddress,
    ) -> Result<Credential, LoginError> {
        let read = AuthorizationToken::read(text, purpose, &self.0.master, self.0.clock.now())
            .filter(|token| token.instance_id == instance_id);
        if let Some(token) = read {
            let key = self.0.keyring.active(&token.access_key_id).await?;
            if let Some(key) = key.filter(|key| key.print == token.print) {
                return Ok(Credential::until_end(&key, Some(token.expires_at)));
            }
        }
        let turn = self.0.guesses.turn(address, counted_as, None).await;
        let turn = turn.map_err(LoginError::Guessing)?;
        Err(turn.wrong().map_or_else(LoginError::Guessing, |()| LoginError::Refused))
    }

    /// A temporary password for the caller, and when it ends, which is never after what the caller
    /// came with; `None` for a caller without a key.
    pub fn issue_temp_password(
        &self,
        credential: &Credential,
        instance_id: &str,
        time_to_live: Duration,
    ) -> Option<(String, Millis)> {
        self.sign(credential, Purpose::Password, instance_id, time_to_live)
    }

    /// A refresh token for the caller, which ends with what the caller came with at the latest;
    /// `None` for a caller without a key.
    pub fn issue_refresh_token(
        &self,
        credential: &Credential,
        instance_id: &str,
    ) -> Option<String> {
        let issued = self.sign(credential, Purpose::RefreshToken, instance_id, REFRESH_TOKEN_TTL);
        issued.map(|(token, _)| token)
    }

    fn sign(
        &self,
        credential: &Credential,
        purpose: Purpose,
        instance_id: &str,
        time_to_live: Duration,
    ) -> Option<(String, Millis)> {
        let token = AuthorizationToken {
            access_key_id: credential.identity.access_key_id.clone()?,
            print: credential.bounds.print.clone()?,
            instance_id: instance_id.to_owned(),
            expires_at: credential.end_of_child(self.0.clock.now(), time_to_live),
        };
        Some((token.issue(purpose, &self.0.master), token.expires_at))
    }

    /// A bearer token for the caller with what was granted to it. It ends with what the caller came
    /// with at the latest.
    ///
    /// # Errors
    /// [`TokenError::Issue`] when the token cannot be written, which has no cause in the caller.
    pub fn issue_token(
        &self,
        credential: &Credential,
        service: &str,
        access: Vec<Grant>,
    ) -> Result<IssuedToken, TokenError> {
        let time_to_live = self.0.config.token_ttl;
        self.0.tokens.issue(credential, service, access, self.0.clock.now(), time_to_live)
    }
}
