//! The errors of authentication, with the public codes of Alibaba Cloud's gateway.

use std::io;

use berth_metadata::{DbError, DbErrorKind};

use crate::rate::Throttled;

/// Why a signed request is refused. Codes, statuses and texts follow the gateway's public errors,
/// because clients compare them.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error("{0} is mandatory for this action.")]
    Missing(&'static str),
    #[error("The request signature does not conform to Alibaba Cloud standards. {0}")]
    Incomplete(String),
    #[error("Specified signature method is not valid.")]
    SignatureMethod,
    #[error("Specified signature version is not valid.")]
    SignatureVersion,
    #[error(
        "Specified time stamp or date value is not well formatted. Use YYYY-MM-DDThh:mm:ssZ in UTC."
    )]
    TimestampFormat,
    #[error("Specified time stamp or date value is expired.")]
    TimestampExpired,
    #[error("Specified access key is not found.")]
    KeyNotFound,
    #[error("Specified access key is disabled.")]
    KeyInactive,
    /// The colon is read by clients: what follows is compared with their own string to sign.
    #[error(
        "Specified signature is not matched with our calculation. \
         server string to sign is:{string_to_sign}"
    )]
    Mismatch { string_to_sign: String },
    #[error("Specified signature nonce was used already.")]
    NonceUsed,
    #[error("cannot write the nonce of a signed request down: {0}")]
    Nonces(io::Error),
    /// The memory of nonces is full of nonces that could still be replayed.
    #[error("Request was denied due to user flow control.")]
    Throttled,
    /// Too many wrong secrets for the key came from the address.
    #[error("Request was denied due to user flow control.")]
    Guessing(Throttled),
    #[error("SecurityToken is mandatory for this action.")]
    MissingSecurityToken,
    #[error("Specified SecurityToken is not matched with the access key.")]
    SecurityTokenMismatch,
    #[error("cannot look the access key or the nonce up: {0}")]
    Database(#[from] DbError),
    #[error("the stored secret of access key {0} does not open under the master key")]
    Sealed(String),
}

impl AuthError {
    /// The `Code` of the error body.
    pub fn code(&self) -> String {
        match self {
            Self::Missing(name) => format!("Missing{name}"),
            Self::Incomplete(_) => "IncompleteSignature".to_owned(),
            Self::SignatureMethod => "InvalidSignatureMethod".to_owned(),
            Self::SignatureVersion => "InvalidSignatureVersion".to_owned(),
            Self::TimestampFormat => "InvalidTimeStamp.Format".to_owned(),
            Self::TimestampExpired => "InvalidTimeStamp.Expired".to_owned(),
            Self::KeyNotFound => "InvalidAccessKeyId.NotFound".to_owned(),
            Self::KeyInactive => "InvalidAccessKeyId.Inactive".to_owned(),
            Self::Mismatch { .. } => "SignatureDoesNotMatch".to_owned(),
            Self::NonceUsed => "SignatureNonceUsed".to_owned(),
            Self::Throttled | Self::Guessing(_) => "Throttling.User".to_owned(),
            Self::MissingSecurityToken => "MissingSecurityToken".to_owned(),
            Self::SecurityTokenMismatch => "InvalidSecurityToken.MismatchWithAccessKey".to_owned(),
            Self::Database(_) | Self::Sealed(_) | Self::Nonces(_) => "SystemError".to_owned(),
        }
    }

    /// The HTTP status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Self::KeyNotFound => 404,
            Self::Throttled | Self::Guessing(_) => 429,
            Self::Database(_) | Self::Sealed(_) | Self::Nonces(_) => 500,
            _ => 400,
        }
    }

    /// Whether the database could not answer now.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_transient() && !self.is_full())
    }

    /// Whether the server had no space for what it had to write.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Database(error) => error.kind() == DbErrorKind::Full,
            Self::Nonces(error) => {
                matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }

    /// Whether the server is at fault; such a message is for the log, not for the caller.
    pub fn is_internal(&self) -> bool {
        matches!(self, Self::Database(_) | Self::Sealed(_) | Self::Nonces(_))
    }
}

/// Why a docker login is refused.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Unknown user, wrong or expired password, disabled key: never told apart to the caller.
    #[error("user name or password is not valid")]
    Refused,
    #[error("too many wrong passwords from this address")]
    Guessing(Throttled),
    #[error("cannot look the access key up: {0}")]
    Internal(#[from] AuthError),
}

/// Why a bearer token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("bearer token is not valid")]
    Invalid,
    #[error("bearer token is expired")]
    Expired,
    #[error("bearer token is for another service")]
    Audience,
    /// The access key that it goes back to is gone, has another secret or may no longer be used.
    #[error("the access key of the bearer token is no longer good")]
    Revoked,
    #[error("bearer token cannot be issued")]
    Issue,
}

/// Why the holder of a bearer token is not let in.
#[derive(Debug, thiserror::Error)]
pub enum HolderError {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("cannot look the access key up: {0}")]
    Internal(#[from] AuthError),
}
