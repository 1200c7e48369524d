//! OCI and Docker manifest views over raw bytes, and the client for other registries.
