//! The control plane: the ACR API 2018-12-01 over RPC, from one operation table.
//!
//! Owns the decoding of requests, the envelope and the error bodies, dispatch, and one file per
//! noun in `actions`. Must not decide anything that holds for other callers too (that is the work
//! of the services in `artifacts`, `builder` and `subscription`), and must not know the data plane.
//!
//! Entry points: [`router`] over a [`Control`]; [`operations`] for everything that is derived from
//! the table.
//!
//! Parameters come from query and body alike, the body winning: forms, and under ACS3 signatures
//! JSON objects too (RPC signatures do not cover any other body than a form). Unknown parameters are
//! ignored. Answers are always JSON, also to `Format=XML`.

mod actions;
mod codes;
mod control;
mod dispatch;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod http;
mod operation;
mod operations;
mod output;
mod paging;
mod parameters;
mod refusal;
mod resource;
mod schema;

pub use codes::{CODES, Code, CodeSource};
pub use control::{Control, ControlConfig, router};
pub use operation::{Extent, Operation};
pub use operations::{VERSION, find, operations};
pub use refusal::Refusal;
pub use schema::{Field, Kind, Stage};
