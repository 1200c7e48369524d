//! Temporary passwords.

mod password;
