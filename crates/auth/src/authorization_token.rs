//! Temporary registry passwords: signed texts that need no row.
//!
//! A password names the access key that asked for it, the instance that it is for and its end. It
//! dies early when that key does.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use berth_types::{Millis, Secret};
use serde::{Deserialize, Serialize};

use crate::master_key::MasterKey;
use crate::signature::hmac_sha256;

/// The user name that goes with a temporary password.
pub const TEMP_USERNAME: &str = "cr_temp_user";

const PURPOSE: &str = "berth temporary password 1";

/// What a temporary password says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TempPassword {
    #[serde(rename = "k")]
    pub access_key_id: String,
    #[serde(rename = "i")]
    pub instance_id: String,
    /// Milliseconds since the epoch.
    #[serde(rename = "e")]
    pub expires_at: Millis,
}

impl TempPassword {
    /// The password as text: two words of URL-safe Base64 and a dot between them.
    pub(crate) fn issue(&self, master: &MasterKey) -> String {
        let json = serde_json::json!({
            "k": self.access_key_id, "i": self.instance_id, "e": self.expires_at,
        });
        let payload = URL_SAFE_NO_PAD.encode(json.to_string());
        let mac = hmac_sha256(&master.derive(PURPOSE), payload.as_bytes());
        format!("{payload}.{}", URL_SAFE_NO_PAD.encode(mac))
    }

    /// Reads a password back; `None` when Berth did not issue it or it is over.
    pub(crate) fn read(text: &str, master: &MasterKey, now: Millis) -> Option<Self> {
        let (payload, mac) = text.split_once('.')?;
        let expected = hmac_sha256(&master.derive(PURPOSE), payload.as_bytes());
        if Secret::new(mac) != Secret::new(URL_SAFE_NO_PAD.encode(expected)) {
            return None;
        }
        let json = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let password: Self = serde_json::from_slice(&json).ok()?;
        (now < password.expires_at).then_some(password)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_holds_until_its_end() {
        let master = MasterKey::generate();
        let password = TempPassword {
            access_key_id: "key".to_owned(),
            instance_id: "cri-1".to_owned(),
            expires_at: 1_000,
        };
        let text = password.issue(&master);
        assert!(!text.contains(char::is_whitespace));
        assert_eq!(TempPassword::read(&text, &master, 999), Some(password));
        assert_eq!(TempPassword::read(&text, &master, 1_000), None);
        assert_eq!(TempPassword::read(&text, &MasterKey::generate(), 0), None);
        let mut forged = text.into_bytes();
        forged[3] ^= 1;
        let forged = String::from_utf8(forged).expect("still text");
        assert_eq!(TempPassword::read(&forged, &master, 0), None);
        assert_eq!(TempPassword::read("", &master, 0), None);
    }
}
