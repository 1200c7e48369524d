//! The signer, the verifier and the services over a real database and captured requests.

mod captures;
mod chains;
mod master_key;
mod nonces;
mod service;
