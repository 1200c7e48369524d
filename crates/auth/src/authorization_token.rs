//! Temporary registry passwords and refresh tokens: signed texts that need no row.
//!
//! Both name the access key that they go back to, the instance that they are for and their end. They
//! die early when that key does, or gets another secret.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use berth_types::{Millis, Secret};
use serde::{Deserialize, Serialize};

use crate::master_key::MasterKey;
use crate::signature::hmac_sha256;

/// The user name that goes with a temporary password.
pub const TEMP_USERNAME: &str = "cr_temp_user";

/// What a signed text is good for. The one is never taken for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To log in with as [`TEMP_USERNAME`].
    Password,
    /// To get bearer tokens at the token endpoint, and nothing else.
    RefreshToken,
}

impl Purpose {
    fn key(self, master: &MasterKey) -> [u8; 32] {
        master.derive(match self {
            Self::Password => "berth temporary password 2",
            Self::RefreshToken => "berth refresh token 1",
        })
    }
}

/// What a temporary password or a refresh token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuthorizationToken {
    #[serde(rename = "k")]
    pub(crate) access_key_id: String,
    /// [`crate::keyring::AccessKey::print`].
    #[serde(rename = "p")]
    pub(crate) print: String,
    #[serde(rename = "i")]
    pub(crate) instance_id: String,
    /// Milliseconds since the epoch.
    #[serde(rename = "e")]
    pub(crate) expires_at: Millis,
}

impl AuthorizationToken {
    /// As text: two words of URL-safe Base64 and a dot between them.
    pub(crate) fn issue(&self, purpose: Purpose, master: &MasterKey) -> String {
        let json = serde_json::json!({
            "k": self.access_key_id,
            "p": self.print,
            "i": self.instance_id,
            "e": self.expires_at,
        });
        let payload = URL_SAFE_NO_PAD.encode(json.to_string());
        let mac = hmac_sha256(&purpose.key(master), payload.as_bytes());
        format!("{payload}.{}", URL_SAFE_NO_PAD.encode(mac))
    }

    /// Reads it back; `None` when Berth did not issue it for that purpose or it is over.
    pub(crate) fn read(
        text: &str,
        purpose: Purpose,
        master: &MasterKey,
        now: Millis,
    ) -> Option<Self> {
        let (payload, mac) = text.split_once('.')?;
        let expected = hmac_sha256(&purpose.key(master), payload.as_bytes());
        if Secret::new(mac) != Secret::new(URL_SAFE_NO_PAD.encode(expected)) {
            return None;
        }
        let json = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let token: Self = serde_json::from_slice(&json).ok()?;
        (now < token.expires_at).then_some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_until_its_end_and_for_its_purpose() {
        let master = MasterKey::generate();
        let token = AuthorizationToken {
            access_key_id: "key".to_owned(),
            print: "00".to_owned(),
            instance_id: "cri-1".to_owned(),
            expires_at: 1_000,
        };
        let read =
            |text: &str, now| AuthorizationToken::read(text, Purpose::Password, &master, now);
        let text = token.issue(Purpose::Password, &master);
        assert!(!text.contains(char::is_whitespace));
        assert_eq!(read(&text, 999), Some(token.clone()));
        assert_eq!(read(&text, 1_000), None);
        assert_eq!(read(&token.issue(Purpose::RefreshToken, &master), 0), None);
        assert_eq!(read(&token.issue(Purpose::Password, &MasterKey::generate()), 0), None);
        let mut forged = text.into_bytes();
        forged[3] ^= 1;
        let forged = String::from_utf8(forged).expect("still text");
        assert_eq!(read(&forged, 0), None);
        assert_eq!(read("", 0), None);
    }
}
