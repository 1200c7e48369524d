//! Who calls, read from the `Authorization` header.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use berth_auth::{Auth, Caller as Holder, LoginError, TokenError, VerifyError};
use berth_types::Identity;
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// The caller of a request.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// No credentials at all: is told where tokens come from.
    Nobody,
    /// User name and password on the request itself.
    Login(Identity),
    /// A bearer token: may do what it grants, if its holder still may.
    Token(Arc<Holder>),
}

impl Caller {
    pub(crate) fn identity(&self) -> Identity {
        match self {
            Self::Nobody => Identity::anonymous(),
            Self::Login(identity) => identity.clone(),
            Self::Token(holder) => holder.identity.clone(),
        }
    }
}

/// Why credentials are refused.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The header has another form than Basic or Bearer, or its content is broken.
    Malformed,
    Password,
    Token(TokenError),
    Internal(LoginError),
}

/// Reads and checks the `Authorization` header.
pub(crate) async fn authenticate(
    auth: &Auth,
    headers: &HeaderMap,
    service: &str,
    instance_id: &str,
) -> Result<Caller, Refused> {
    let Some(header) = headers.get(AUTHORIZATION) else { return Ok(Caller::Nobody) };
    let header = header.to_str().map_err(|_| Refused::Malformed)?;
    let (scheme, value) = header.trim().split_once(' ').ok_or(Refused::Malformed)?;
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return match auth.verify_token(value, service).await {
            Ok(holder) => Ok(Caller::Token(holder)),
            Err(VerifyError::Token(error)) => Err(Refused::Token(error)),
            Err(VerifyError::Internal(error)) => Err(Refused::Internal(error.into())),
        };
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let (username, password) = read_basic(value).ok_or(Refused::Malformed)?;
        return login(auth, &username, &password, instance_id).await.map(Caller::Login);
    }
    Err(Refused::Malformed)
}

/// Checks user name and password.
pub(crate) async fn login(
    auth: &Auth,
    username: &str,
    password: &str,
    instance_id: &str,
) -> Result<Identity, Refused> {
    auth.login(username, password, instance_id).await.map_err(|error| match error {
        LoginError::Refused => Refused::Password,
        error @ LoginError::Internal(_) => Refused::Internal(error),
    })
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
