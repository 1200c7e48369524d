//! Who calls, read from the `Authorization` header.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use berth_auth::{
    Auth, ClientAddress, Credential, HolderError, LoginError, Throttled, TokenError, TokenHolder,
};
use berth_types::{Identity, Millis};
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// The caller of a request.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// No credentials at all: is told where tokens come from.
    Nobody,
    /// User name and password on the request itself.
    Login(Credential),
    /// A bearer token: may do what it grants, if its holder still may.
    Token(Arc<TokenHolder>),
}

impl Caller {
    pub(crate) fn identity(&self) -> Identity {
        match self {
            Self::Nobody => Identity::anonymous(),
            Self::Login(credential) => credential.identity.clone(),
            Self::Token(holder) => holder.identity.clone(),
        }
    }

    /// When the credentials end, milliseconds since the epoch; `None` when they have no end of their
    /// own.
    pub(crate) fn until(&self) -> Option<Millis> {
        match self {
            Self::Nobody => None,
            Self::Login(credential) => credential.until(),
            Self::Token(holder) => Some(holder.until()),
        }
    }
}

/// Why credentials are refused.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The header has another form than Basic or Bearer, or its content is broken.
    Malformed,
    Password,
    /// A wrong password, and not the first one.
    Guessing(Throttled),
    Token(TokenError),
    Internal(LoginError),
}

/// Reads and checks the `Authorization` header.
pub(crate) async fn authenticate(
    auth: &Auth,
    headers: &HeaderMap,
    service: &str,
    instance_id: &str,
    address: ClientAddress,
) -> Result<Caller, Refused> {
    let Some(header) = headers.get(AUTHORIZATION) else { return Ok(Caller::Nobody) };
    let header = header.to_str().map_err(|_| Refused::Malformed)?;
    let (scheme, value) = header.trim().split_once(' ').ok_or(Refused::Malformed)?;
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return match auth.verify_token(value, service).await {
            Ok(holder) => Ok(Caller::Token(holder)),
            Err(HolderError::Token(error)) => Err(Refused::Token(error)),
            Err(HolderError::Internal(error)) => Err(Refused::Internal(error.into())),
        };
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let (username, password) = read_basic(value).ok_or(Refused::Malformed)?;
        let login = auth.login(&username, &password, instance_id, address).await;
        return login.map(Caller::Login).map_err(Refused::from);
    }
    Err(Refused::Malformed)
}

impl From<LoginError> for Refused {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Refused => Self::Password,
            LoginError::Guessing(throttled) => Self::Guessing(throttled),
            error @ LoginError::Internal(_) => Self::Internal(error),
        }
    }
}

/// Where the request comes from, as the server counts it.
pub(crate) fn address_of(extensions: &http::Extensions) -> ClientAddress {
    extensions.get::<ClientAddress>().copied().unwrap_or_default()
}

/// The user name and password of a Basic value (RFC 7617).
fn read_basic(value: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    Some((username.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials() {
        let pair = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        assert_eq!(read_basic(&STANDARD.encode("a:b:c")), pair("a", "b:c"));
        assert_eq!(read_basic(&STANDARD.encode("a:")), pair("a", ""));
        assert_eq!(read_basic(&STANDARD.encode("ab")), None);
        assert_eq!(read_basic("!"), None);
    }
}
