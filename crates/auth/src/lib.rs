//! Who is calling, and may they.
//!
//! Owns request signatures (ACS3-HMAC-SHA256 and HMAC-SHA1), access keys at rest, docker bearer
//! tokens, temporary registry passwords, the authorisation decision, how often a key may ask, and the
//! first start. Must not know a router, an operation of the API, or what a repository holds.
//!
//! Entry points: [`Auth`] for everything at run time, [`bootstrap`](bootstrap::bootstrap) for the
//! first start, [`signature::acs3::sign`] for clients.

pub mod access;
mod authorization_token;
pub mod bootstrap;
mod credential;
pub mod encoding;
mod error;
mod guesses;
mod keyring;
mod login;
mod master_key;
mod nonce;
mod rate;
mod service;
pub mod signature;
mod token;

pub use access::{Access, Denied};
pub use authorization_token::TEMP_USERNAME;
pub use bootstrap::{Bootstrap, BootstrapConfig, RootCredentials};
pub use credential::Credential;
pub use error::{AuthError, HolderError, LoginError, TokenError};
pub use guesses::ClientAddress;
pub use keyring::{AccessKey, KeyStatus, Keyring};
pub use master_key::{MasterKey, MasterKeyError};
pub use nonce::{NonceError, NonceJournal};
pub use rate::{RateLimit, Rates, Throttled};
pub use service::{Auth, AuthConfig};
pub use token::{Grant, IssuedToken, TokenClaims, TokenHolder, service_name};
