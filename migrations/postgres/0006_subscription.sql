-- Who delivered what, and how rules treat indexes and referrers. The SQLite file of the same number makes
-- the same.

-- Blobs that a registry delivered to an instance, byte for byte: when it names one of them again and
-- has it where it names it, the bytes need not come again. Gone with the blob.
CREATE TABLE subscription_delivery (
  digest TEXT NOT NULL REFERENCES blob (digest) ON DELETE CASCADE,
  instance_id TEXT NOT NULL REFERENCES instance (instance_id),
  -- host[:port] as it was contacted, with http:// in front for plain HTTP.
  source TEXT NOT NULL,
  delivered_at BIGINT NOT NULL,
  PRIMARY KEY (digest, instance_id, source)
);

-- KEEP: an index keeps its bytes, whatever the platforms; REWRITE: it has the kept children only.
-- Rules so far rewrote, but as nobody had a choice they keep from now on.
ALTER TABLE subscription_rule ADD COLUMN index_mode TEXT NOT NULL DEFAULT 'KEEP';
-- Whether signatures, SBOMs and attestations come along.
ALTER TABLE subscription_rule ADD COLUMN referrers BOOLEAN NOT NULL DEFAULT TRUE;
