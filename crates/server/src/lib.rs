//! Configuration, assembly of roles, listeners, TLS, middleware, metrics and health.
