//! What can go wrong between Berth and another registry.

use std::net::IpAddr;
use std::time::Duration;

use berth_types::Millis;

/// The classes of failure that callers act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientErrorKind {
    /// The address is one that the operator has not allowed.
    Refused,
    NotFound,
    /// Credentials are missing, wrong, or may not do this.
    Unauthorized,
    /// Worth another try later.
    Transient,
    /// Too much was asked for: not before [`ClientError::retry_at`], where the upstream said when.
    RateLimited,
    /// The other side said something that cannot be taken.
    Invalid,
    /// The configuration of this client is wrong.
    Config,
}

/// A failed exchange with another registry. `what` names the object, as in ``manifest `v1` ``.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    #[error(
        "{host} ({address}) may not be contacted: private addresses and plain HTTP need an entry in \
         the operator's upstream.allow"
    )]
    Refused { host: String, address: IpAddr },
    #[error("{host} cannot be reached: {reason}")]
    Unreachable { host: String, reason: String },
    #[error("{what} not found at source{message}")]
    NotFound { what: String, message: String },
    #[error("{host} did not authorise reading {what}{message}")]
    Unauthorized { host: String, what: String, message: String },
    #[error("{host} limits the rate of requests{}", retry_text(*.retry_after))]
    RateLimited {
        host: String,
        /// From the answer on.
        retry_after: Option<Duration>,
        /// The same as a time.
        retry_at: Option<Millis>,
    },
    #[error("{host} answered {status} for {what}{message}")]
    Status { host: String, what: String, status: u16, message: String },
    #[error("{host} named the token server `{realm}`, which is not used: {reason}")]
    Realm { host: String, realm: String, reason: String },
    #[error("{what}: not following to `{target}`: {reason}")]
    Redirect { what: String, target: String, reason: &'static str },
    #[error("{what}: {reason}")]
    Protocol { what: String, reason: String },
    #[error("{what} is larger than {limit} bytes")]
    TooLarge { what: String, limit: u64 },
    /// Less came in its time than the bounds ask for.
    #[error("{what}: {reason}")]
    TooSlow { what: String, reason: String },
    /// The conversation costs more than the bounds allow.
    #[error("{what}: {reason}")]
    Bound { what: String, reason: String },
    #[error("{what} broke off after {offset} bytes: {reason}")]
    Broken { what: String, offset: u64, reason: String },
    #[error("{what} has digest {actual} instead of {expected}")]
    Digest { what: String, expected: String, actual: String },
    #[error("upstream configuration: {0}")]
    Config(String),
}

impl ClientError {
    pub fn kind(&self) -> ClientErrorKind {
        match self {
            Self::Refused { .. } => ClientErrorKind::Refused,
            Self::NotFound { .. } => ClientErrorKind::NotFound,
            Self::Unauthorized { .. } => ClientErrorKind::Unauthorized,
            Self::Unreachable { .. } | Self::Broken { .. } | Self::TooSlow { .. } => {
                ClientErrorKind::Transient
            }
            Self::RateLimited { .. } => ClientErrorKind::RateLimited,
            Self::Status { status, .. } if *status >= 500 || *status == 408 => {
                ClientErrorKind::Transient
            }
            Self::Status { .. }
            | Self::Realm { .. }
            | Self::Redirect { .. }
            | Self::Protocol { .. }
            | Self::TooLarge { .. }
            | Self::Bound { .. }
            | Self::Digest { .. } => ClientErrorKind::Invalid,
            Self::Config(_) => ClientErrorKind::Config,
        }
    }

    /// Whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind(), ClientErrorKind::Transient | ClientErrorKind::RateLimited)
    }

    /// Whether a call repeats the request by itself: another try right after a trickle trickles.
    pub(crate) fn is_repeated(&self) -> bool {
        self.is_transient() && !matches!(self, Self::TooSlow { .. })
    }

    /// The time before which the upstream does not want to be asked again, where it named one: a
    /// call waits for near ones by itself.
    pub fn retry_at(&self) -> Option<Millis> {
        match self {
            Self::RateLimited { retry_at, .. } => *retry_at,
            _ => None,
        }
    }

    pub(crate) fn rate_limited(host: String, retry_after: Option<Duration>, now: Millis) -> Self {
        let retry_at = retry_after
            .map(|pause| now.saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX)));
        Self::RateLimited { host, retry_after, retry_at }
    }
}

fn retry_text(retry_after: Option<Duration>) -> String {
    retry_after.map(|wait| format!("; next try in {} s", wait.as_secs())).unwrap_or_default()
}
