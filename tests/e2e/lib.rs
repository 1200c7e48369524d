//! End-to-end tests; each file beside this one is a story told against a real server.
