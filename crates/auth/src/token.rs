//! Bearer tokens of the docker token flow: JSON web tokens, HS256 under a key of the master key
//! (distribution's "Token Authentication Implementation").

use std::sync::Arc;
use std::time::Duration;

use berth_metadata::{Db, Memory, Subject};
use berth_types::{Identity, Millis, Principal};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::credential::Credential;
use crate::error::TokenError;
use crate::master_key::MasterKey;

const PURPOSE: &str = "berth docker bearer token 2";
const ISSUER: &str = "berth";
/// Bytes in which tokens are remembered, and what one takes besides its texts.
const MEMORY: usize = 4 << 20;
const HOLDER: usize = size_of::<TokenHolder>() + 256;

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
    /// Of that key, as in [`crate::keyring::AccessKey`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) print: Option<String>,
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

/// Who holds a token, and what it says.
#[derive(Debug)]
pub struct TokenHolder {
    pub identity: Identity,
    pub claims: TokenClaims,
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
    /// Tokens that were found to be true. Whether they still hold is asked each time.
    read: Memory<Arc<TokenHolder>>,
}

impl Tokens {
    pub(crate) fn new(db: Db, master: &MasterKey) -> Self {
        let key = master.derive(PURPOSE);
        Self {
            encoding: EncodingKey::from_secret(&key),
            decoding: DecodingKey::from_secret(&key),
            read: Memory::new(db, MEMORY, Duration::ZERO),
        }
    }

    pub(crate) fn issue(
        &self,
        credential: &Credential,
        service: &str,
        access: Vec<Grant>,
        now: Millis,
        time_to_live: Duration,
    ) -> Result<IssuedToken, TokenError> {
        let Credential { identity, bounds } = credential;
        let issued = now.div_euclid(1000);
        let end = credential.end_of_child(now, time_to_live).div_euclid(1000);
        let claims = TokenClaims {
            iss: ISSUER.to_owned(),
            sub: identity.key(),
            aud: service.to_owned(),
            exp: end,
            nbf: issued,
            iat: issued,
            jti: berth_types::id::key(),
            account: identity.account_id.clone(),
            access_key: identity.access_key_id.clone(),
            print: bounds.print.clone(),
            access,
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
            .map_err(|_| TokenError::Issue)?;
        let expires_in = u64::try_from(end.saturating_sub(issued)).unwrap_or(0);
        Ok(IssuedToken { token, expires_in, issued_at: now })
    }

    /// What a token says, when Berth wrote it. The same text is only read once.
    pub(crate) fn read(&self, token: &str) -> Result<Arc<TokenHolder>, TokenError> {
        // By hash, so that looking a token up takes no time that tells about others.
        let key = hex::encode(Sha256::digest(token.as_bytes()));
        if let Some(holder) = self.read.peek(&key) {
            return Ok(holder);
        }
        let mut validation = Validation::new(Algorithm::HS256);
        // Times are compared with Berth's own clock, and the audience with the instance, each time.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.set_issuer(&[ISSUER]);
        let claims = jsonwebtoken::decode::<TokenClaims>(token, &self.decoding, &validation)
            .map_err(|_| TokenError::Invalid)?
            .claims;
        let holder = Arc::new(TokenHolder { identity: claims.identity(), claims });
        let stamp = self.read.stamp(Subject::Instances);
        self.read.put(&key, stamp, Arc::clone(&holder), token.len() * 2 + HOLDER);
        Ok(holder)
    }
}

impl TokenHolder {
    /// When the token ends, milliseconds since the epoch.
    pub fn until(&self) -> Millis {
        self.claims.exp.saturating_mul(1000)
    }

    /// Whether the token is for the service and not over.
    pub(crate) fn check(&self, service: &str, now: Millis) -> Result<(), TokenError> {
        if self.claims.aud != service {
            return Err(TokenError::Audience);
        }
        if now.div_euclid(1000) >= self.claims.exp {
            return Err(TokenError::Expired);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use berth_metadata::DbOptions;

    use super::*;
    use crate::credential::Bounds;

    const TTL: Duration = Duration::from_secs(300);

    async fn database(folder: &tempfile::TempDir) -> Db {
        let url = format!("sqlite:{}", folder.path().join("berth.db").display());
        Db::open_with(&url, DbOptions::default()).await.expect("database")
    }

    #[tokio::test]
    async fn a_token_comes_back_as_it_was_issued() {
        let folder = tempfile::tempdir().expect("folder");
        let db = database(&folder).await;
        let tokens = Tokens::new(db.clone(), &MasterKey::generate());
        let service = service_name("local", "cri-1");
        assert_eq!(service, "registry.aliyuncs.com:local:china:cri-1");
        let identity = Identity::root("1234", "key");
        let bounds = Bounds { print: Some("00".to_owned()), until: None };
        let credential = Credential { identity: identity.clone(), bounds };
        let grant = Grant {
            kind: "repository".to_owned(),
            name: "ns/app".to_owned(),
            actions: vec!["pull".to_owned()],
        };
        let issued = tokens
            .issue(&credential, &service, vec![grant], 1_700_000_000_500, TTL)
            .expect("issued");
        let verify = |token: &str, service: &str, now| {
            let holder = tokens.read(token)?;
            holder.check(service, now).map(|()| holder)
        };
        let holder = verify(&issued.token, &service, 1_700_000_299_000).expect("valid");
        let again = verify(&issued.token, &service, 1_700_000_299_000).expect("valid");
        assert!(Arc::ptr_eq(&holder, &again), "it is read once");
        assert_eq!(holder.identity, identity);
        let claims = &holder.claims;
        assert!(claims.allows("ns/app", "pull"));
        assert!(!claims.allows("ns/app", "push"));
        assert!(!claims.allows("ns/other", "pull"));
        assert_eq!(claims.answer("repository", "ns/app", "push"), Some(false));
        assert_eq!(claims.answer("repository", "ns/other", "pull"), None);
        let refused = |token: &str, service: &str, now| verify(token, service, now).err();
        assert_eq!(refused(&issued.token, &service, 1_700_000_300_000), Some(TokenError::Expired));
        assert_eq!(refused(&issued.token, "other", 1_700_000_000_000), Some(TokenError::Audience));
        assert_eq!(refused("a.b.c", &service, 0), Some(TokenError::Invalid));
        let mut forged = issued.token.clone();
        forged.pop();
        assert_eq!(refused(&forged, &service, 0), Some(TokenError::Invalid));
        let foreign = Tokens::new(db, &MasterKey::generate());
        assert_eq!(foreign.read(&issued.token).err(), Some(TokenError::Invalid));
        let anonymous = tokens
            .issue(&Credential::anonymous(), &service, Vec::new(), 1_700_000_000_000, TTL)
            .expect("issued");
        let holder = verify(&anonymous.token, &service, 1_700_000_000_000).expect("valid");
        assert_eq!(holder.identity, Identity::anonymous());
    }
}
