//! The control plane from outside: its table against the contract, its operations and its protocol
//! over HTTP.

mod api;
mod contract;
mod fixture;
mod protocol;
mod walks;
