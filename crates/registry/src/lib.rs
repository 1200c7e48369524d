//! The data plane: OCI Distribution under /v2/ and the docker token endpoint.
