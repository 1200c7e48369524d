-- Nonces of signed requests that could still be played again, when several servers share the
-- database. (A single server on SQLite keeps them in a journal of its own: ADR 14.)
CREATE TABLE nonce (
  -- The first 64 bits of a keyed hash of access key id and nonce.
  hash BIGINT PRIMARY KEY,
  -- When the date of the request is no longer accepted.
  expires_at BIGINT NOT NULL
);
CREATE INDEX nonce_by_expiry ON nonce (expires_at);
