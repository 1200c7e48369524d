//! The signer, the verifier and the services over a real database and captured requests.

mod captures;
mod service;
