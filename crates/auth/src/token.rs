//! Bearer tokens of the docker token flow: JSON web tokens, HS256 under a key of the master key
//! (distribution's "Token Authentication Implementation").

use berth_types::{Identity, Millis, Principal};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::error::TokenError;
use crate::master_key::MasterKey;

const PURPOSE: &str = "berth docker bearer token 1";
const ISSUER: &str = "berth";

/// The service name of an instance, in the form by which clients recognise an ACR instance.
pub fn service_name(region: &str, instance_id: &str) -> String {
    format!("registry.aliyuncs.com:{region}:china:{instance_id}")
}

/// What a token allows on one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// `repository`, as in the scope.
    #[serde(rename = "type")]
    pub kind: String,
    /// The repository's full name.
    pub name: String,
    /// `pull`, `push`, `delete`.
    pub actions: Vec<String>,
}

/// The claims of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenClaims {
    iss: String,
    /// Whose token it is: [`Identity::key`].
    pub sub: String,
    /// The service that accepts it.
    pub aud: String,
    /// Seconds since the epoch.
    pub exp: i64,
    nbf: i64,
    iat: i64,
    jti: String,
    /// The account, empty for the anonymous caller.
    account: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    access_key: Option<String>,
    pub access: Vec<Grant>,
}

impl TokenClaims {
    /// The caller that the token was issued to.
    pub fn identity(&self) -> Identity {
        let principal = match (self.sub.rsplit_once(':'), &self.access_key) {
            (Some((_, "root")), Some(_)) => Principal::Root,
            _ => return Identity::anonymous(),
        };
        Identity {
            account_id: self.account.clone(),
            principal,
            access_key_id: self.access_key.clone(),
        }
    }

    /// Whether the token grants the action on the repository.
    pub fn allows(&self, repository: &str, action: &str) -> bool {
        self.answer("repository", repository, action) == Some(true)
    }

    /// Whether the action on the resource was granted when the token was issued; `None` when the
    /// resource was not asked for.
    pub fn answer(&self, kind: &str, name: &str, action: &str) -> Option<bool> {
        let mut grants =
            self.access.iter().filter(|grant| grant.kind == kind && grant.name == name).peekable();
        grants.peek()?;
        Some(grants.any(|grant| grant.actions.iter().any(|granted| granted == action)))
    }
}

/// A token as the token endpoint answers it.
#[derive(Debug, Clone)]
pub struct IssuedToken {
    pub token: String,
    /// Seconds.
    pub expires_in: u64,
    pub issued_at: Millis,
}

/// The keys of tokens.
pub(crate) struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl Tokens {
    pub(crate) fn new(master: &MasterKey) -> Self {
        let key = master.derive(PURPOSE);
        Self { encoding: EncodingKey::from_secret(&key), decoding: DecodingKey::from_secret(&key) }
    }

    pub(crate) fn issue(
        &self,
        identity: &Identity,
        service: &str,
        access: Vec<Grant>,
        now: Millis,
        seconds: u64,
    ) -> Result<IssuedToken, TokenError> {
        let issued = now.div_euclid(1000);
        let claims = TokenClaims {
            iss: ISSUER.to_owned(),
            sub: identity.key(),
            aud: service.to_owned(),
            exp: issued.saturating_add_unsigned(seconds),
            nbf: issued,
            iat: issued,
            jti: berth_types::id::key(),
            account: identity.account_id.clone(),
            access_key: identity.access_key_id.clone(),
            access,
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
            .map_err(|_| TokenError::Issue)?;
        Ok(IssuedToken { token, expires_in: seconds, issued_at: now })
    }

    pub(crate) fn verify(
        &self,
        token: &str,
        service: &str,
        now: Millis,
    ) -> Result<TokenClaims, TokenError> {
        let mut validation = Validation::new(Algorithm::HS256);
        // Times are compared with Berth's own clock below.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.set_issuer(&[ISSUER]);
        let claims = jsonwebtoken::decode::<TokenClaims>(token, &self.decoding, &validation)
            .map_err(|_| TokenError::Invalid)?
            .claims;
        if claims.aud != service {
            return Err(TokenError::Audience);
        }
        if now.div_euclid(1000) >= claims.exp {
            return Err(TokenError::Expired);
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_it_was_issued() {
        let tokens = Tokens::new(&MasterKey::generate());
        let service = service_name("local", "cri-1");
        assert_eq!(service, "registry.aliyuncs.com:local:china:cri-1");
        let identity = Identity::root("1234", "key");
        let grant = Grant {
            kind: "repository".to_owned(),
            name: "ns/app".to_owned(),
            actions: vec!["pull".to_owned()],
        };
        let issued =
            tokens.issue(&identity, &service, vec![grant], 1_700_000_000_500, 300).expect("issued");
        let verify = |token: &str, now| tokens.verify(token, &service, now);
        let claims = verify(&issued.token, 1_700_000_299_000).expect("valid");
        assert_eq!(claims.identity(), identity);
        assert!(claims.allows("ns/app", "pull"));
        assert!(!claims.allows("ns/app", "push"));
        assert!(!claims.allows("ns/other", "pull"));
        assert_eq!(claims.answer("repository", "ns/app", "push"), Some(false));
        assert_eq!(claims.answer("repository", "ns/other", "pull"), None);
        assert_eq!(verify(&issued.token, 1_700_000_300_000), Err(TokenError::Expired));
        assert_eq!(
            tokens.verify(&issued.token, "other", 1_700_000_000_000),
            Err(TokenError::Audience)
        );
        let foreign = Tokens::new(&MasterKey::generate());
        assert_eq!(
            foreign.verify(&issued.token, &service, 1_700_000_000_000),
            Err(TokenError::Invalid)
        );
        assert_eq!(verify("a.b.c", 0), Err(TokenError::Invalid));
        let anonymous = tokens
            .issue(&Identity::anonymous(), &service, Vec::new(), 1_700_000_000_000, 300)
            .expect("issued");
        let claims = verify(&anonymous.token, 1_700_000_000_000).expect("valid");
        assert_eq!(claims.identity(), Identity::anonymous());
    }
}
