-- One row, written to see whether the database takes writes.
CREATE TABLE readiness (
  id BIGINT PRIMARY KEY,
  checks BIGINT NOT NULL
);
INSERT INTO readiness (id, checks) VALUES (1, 0);
