-- Garbage collection, scrubbing and quotas. The PostgreSQL file of the same number makes the same.

-- When the collector looks at the row again; NULL once it is known to be in use. Every way in which
-- a use can end sets it, in the transaction that ends the use.
ALTER TABLE repository_blob ADD COLUMN review_after BIGINT;
ALTER TABLE blob ADD COLUMN review_after BIGINT;
ALTER TABLE manifest ADD COLUMN review_after BIGINT;
UPDATE repository_blob SET review_after = created_at;
UPDATE blob SET review_after = created_at;
UPDATE manifest SET review_after = created_at;
CREATE INDEX repository_blob_review ON repository_blob (review_after) WHERE review_after IS NOT NULL;
CREATE INDEX blob_review ON blob (review_after) WHERE review_after IS NOT NULL;
CREATE INDEX manifest_review ON manifest (review_after) WHERE review_after IS NOT NULL;

-- Whose object is it?
CREATE INDEX blob_by_object ON blob (storage_key);

CREATE INDEX task_by_queue ON task (queue, created_at);

-- Objects whose rows are gone and whose bytes are to be removed.
CREATE TABLE object_removal (
  storage_key TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL
);

-- The store's mark of the object as it was written: another one means that somebody changed it.
ALTER TABLE blob ADD COLUMN stamp TEXT;
-- When the bytes were last found to be whole.
ALTER TABLE blob ADD COLUMN scrubbed_at BIGINT;
-- When they were found not to be: the blob is in quarantine until other bytes replace them.
ALTER TABLE blob ADD COLUMN damaged_at BIGINT;
CREATE INDEX blob_damaged ON blob (damaged_at) WHERE damaged_at IS NOT NULL;

-- Days that a manifest without a tag is kept; NULL keeps it for ever.
ALTER TABLE repository ADD COLUMN untagged_days BIGINT;

-- When a build last took the layer from here.
ALTER TABLE converted_layer ADD COLUMN used_at BIGINT NOT NULL DEFAULT 0;
UPDATE converted_layer SET used_at = created_at;

-- Bytes of the blobs of an instance's repositories, as a sum of changes: no push waits for another.
-- From time to time the changes become one.
CREATE TABLE usage_change (
  change_id TEXT PRIMARY KEY,
  instance_id TEXT NOT NULL REFERENCES instance (instance_id),
  bytes BIGINT NOT NULL
);
CREATE INDEX usage_change_by_instance ON usage_change (instance_id, bytes);
INSERT INTO usage_change (change_id, instance_id, bytes)
  SELECT 'initial-' || r.instance_id, r.instance_id, SUM(b.size)
  FROM repository_blob l
  JOIN repository r ON r.repo_id = l.repo_id
  JOIN blob b ON b.digest = l.digest
  GROUP BY r.instance_id;

-- What an instance may hold; NULL takes the server's default.
ALTER TABLE instance ADD COLUMN storage_quota BIGINT;
ALTER TABLE instance ADD COLUMN namespace_quota BIGINT;
ALTER TABLE instance ADD COLUMN repository_quota BIGINT;
