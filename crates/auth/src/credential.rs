//! Who was let in, and what bounds everything that is issued to it.
//!
//! A credential comes from another one: a temporary password from a signed request, a refresh token
//! from a password, a bearer token from either. Each carries the bounds of the one that it came
//! from, so that none outlives it, however long the chain: the end, and the secret of the access key
//! at its root.

use std::time::Duration;

use berth_types::{Identity, Millis};

use crate::keyring::AccessKey;

/// A caller whose credentials were found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    pub identity: Identity,
    pub(crate) bounds: Bounds,
}

/// What no child of a credential goes beyond.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// [`AccessKey::print`] of the key with which the chain begins; `None` for nobody's.
    pub(crate) print: Option<String>,
    /// When it ends, milliseconds since the epoch; `None`: with its key.
    pub(crate) until: Option<Millis>,
}

impl Credential {
    /// The caller without a name, to whom tokens for what is public are issued.
    pub fn anonymous() -> Self {
        Self { identity: Identity::anonymous(), bounds: Bounds::default() }
    }

    /// The holder of the key's secret.
    pub(crate) fn of_key(key: &AccessKey) -> Self {
        Self::until_end(key, None)
    }

    /// The holder of something that was issued to the key and has an end.
    pub(crate) fn until_end(key: &AccessKey, until: Option<Millis>) -> Self {
        Self {
            identity: Identity::root(&key.account_id, &key.access_key_id),
            bounds: Bounds { print: Some(key.print.clone()), until },
        }
    }

    /// When it ends, milliseconds since the epoch; `None` when it ends with its access key alone.
    pub fn until(&self) -> Option<Millis> {
        self.bounds.until
    }

    /// When something ends that is issued to it now for at most that long.
    pub(crate) fn end_of_child(&self, now: Millis, time_to_live: Duration) -> Millis {
        let millis = Millis::try_from(time_to_live.as_millis()).unwrap_or(Millis::MAX);
        let end = now.saturating_add(millis);
        self.bounds.until.map_or(end, |until| end.min(until))
    }
}
