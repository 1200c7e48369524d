-- Types are limited to BIGINT, TEXT, BOOLEAN and BYTEA (BLOB on SQLite); times are epoch
-- milliseconds; JSON is TEXT. Texts compare by their bytes, as SQLite does. The SQLite file of the
-- same number makes the same tables.

CREATE TABLE setting (
  name TEXT COLLATE "C" PRIMARY KEY,
  value TEXT COLLATE "C" NOT NULL
);

CREATE TABLE account (
  account_id TEXT COLLATE "C" PRIMARY KEY,
  name TEXT COLLATE "C" NOT NULL,
  created_at BIGINT NOT NULL
);

CREATE TABLE access_key (
  access_key_id TEXT COLLATE "C" PRIMARY KEY,
  account_id TEXT COLLATE "C" NOT NULL REFERENCES account (account_id),
  -- AES-256-GCM under the master key: nonce, ciphertext, tag.
  secret BYTEA NOT NULL,
  status TEXT COLLATE "C" NOT NULL,
  created_at BIGINT NOT NULL
);

CREATE TABLE instance (
  instance_id TEXT COLLATE "C" PRIMARY KEY,
  account_id TEXT COLLATE "C" NOT NULL REFERENCES account (account_id),
  name TEXT COLLATE "C" NOT NULL UNIQUE,
  region TEXT COLLATE "C" NOT NULL,
  specification TEXT COLLATE "C" NOT NULL,
  status TEXT COLLATE "C" NOT NULL,
  created_at BIGINT NOT NULL,
  modified_at BIGINT NOT NULL
);

CREATE TABLE namespace (
  namespace_id TEXT COLLATE "C" PRIMARY KEY,
  instance_id TEXT COLLATE "C" NOT NULL REFERENCES instance (instance_id),
  name TEXT COLLATE "C" NOT NULL,
  status TEXT COLLATE "C" NOT NULL,
  auto_create_repo BOOLEAN NOT NULL,
  default_repo_type TEXT COLLATE "C" NOT NULL,
  default_tag_immutability BOOLEAN NOT NULL,
  -- JSON of ArtifactBuildRuleParameters; NULL when repositories get no build rule at birth.
  build_rule_parameters TEXT COLLATE "C",
  created_at BIGINT NOT NULL,
  modified_at BIGINT NOT NULL,
  UNIQUE (instance_id, name)
);

CREATE TABLE repository (
  repo_id TEXT COLLATE "C" PRIMARY KEY,
  instance_id TEXT COLLATE "C" NOT NULL REFERENCES instance (instance_id),
  namespace_id TEXT COLLATE "C" NOT NULL REFERENCES namespace (namespace_id),
  namespace_name TEXT COLLATE "C" NOT NULL,
  name TEXT COLLATE "C" NOT NULL,
  status TEXT COLLATE "C" NOT NULL,
  repo_type TEXT COLLATE "C" NOT NULL,
  tag_immutability BOOLEAN NOT NULL,
  summary TEXT COLLATE "C" NOT NULL,
  detail TEXT COLLATE "C" NOT NULL,
  build_type TEXT COLLATE "C" NOT NULL,
  created_at BIGINT NOT NULL,
  modified_at BIGINT NOT NULL,
  UNIQUE (namespace_id, name)
);
CREATE INDEX repository_by_instance ON repository (instance_id, namespace_name, name);

-- The bytes: one row per digest that is whole, verified and durable.
CREATE TABLE blob (
  digest TEXT COLLATE "C" PRIMARY KEY,
  storage_key TEXT COLLATE "C" NOT NULL,
  size BIGINT NOT NULL,
  created_at BIGINT NOT NULL
);

-- Which repository may serve which blob.
CREATE TABLE repository_blob (
  repo_id TEXT COLLATE "C" NOT NULL REFERENCES repository (repo_id) ON DELETE CASCADE,
  digest TEXT COLLATE "C" NOT NULL REFERENCES blob (digest),
  created_at BIGINT NOT NULL,
  PRIMARY KEY (repo_id, digest)
);
CREATE INDEX repository_blob_by_digest ON repository_blob (digest);

CREATE TABLE manifest (
  repo_id TEXT COLLATE "C" NOT NULL REFERENCES repository (repo_id) ON DELETE CASCADE,
  digest TEXT COLLATE "C" NOT NULL,
  media_type TEXT COLLATE "C" NOT NULL,
  artifact_type TEXT COLLATE "C",
  subject TEXT COLLATE "C",
  config_digest TEXT COLLATE "C",
  -- Exactly as received.
  content BYTEA NOT NULL,
  -- Bytes of config and layers; of an index, of its children here.
  image_size BIGINT NOT NULL,
  layer_count BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (repo_id, digest)
);
CREATE INDEX manifest_by_subject ON manifest (repo_id, subject) WHERE subject IS NOT NULL;

-- What a manifest names: kind is CONFIG, LAYER or MANIFEST.
CREATE TABLE manifest_reference (
  repo_id TEXT COLLATE "C" NOT NULL,
  digest TEXT COLLATE "C" NOT NULL,
  child TEXT COLLATE "C" NOT NULL,
  kind TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (repo_id, digest, child, kind),
  FOREIGN KEY (repo_id, digest) REFERENCES manifest (repo_id, digest) ON DELETE CASCADE
);
CREATE INDEX manifest_reference_by_child ON manifest_reference (repo_id, child);

CREATE TABLE tag (
  repo_id TEXT COLLATE "C" NOT NULL REFERENCES repository (repo_id) ON DELETE CASCADE,
  name TEXT COLLATE "C" NOT NULL,
  digest TEXT COLLATE "C" NOT NULL,
  -- NULL, or the tag that this one was derived from by a build.
  derived_from TEXT COLLATE "C",
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (repo_id, name)
);
CREATE INDEX tag_by_digest ON tag (repo_id, digest);

CREATE TABLE upload (
  upload_id TEXT COLLATE "C" PRIMARY KEY,
  repo_id TEXT COLLATE "C" NOT NULL REFERENCES repository (repo_id) ON DELETE CASCADE,
  principal TEXT COLLATE "C" NOT NULL,
  -- JSON of the storage crate's PartialObject.
  partial TEXT COLLATE "C" NOT NULL,
  -- Bytes received and durable.
  received BIGINT NOT NULL,
  hash_state BYTEA NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE INDEX upload_by_age ON upload (updated_at);

-- State: READY, RUNNING, SUCCEEDED, FAILED, CANCELED.
CREATE TABLE task (
  task_id TEXT COLLATE "C" PRIMARY KEY,
  queue TEXT COLLATE "C" NOT NULL,
  kind TEXT COLLATE "C" NOT NULL,
  payload TEXT COLLATE "C" NOT NULL,
  state TEXT COLLATE "C" NOT NULL,
  -- Higher first.
  priority BIGINT NOT NULL,
  run_at BIGINT NOT NULL,
  attempt BIGINT NOT NULL,
  max_attempts BIGINT NOT NULL,
  lease_owner TEXT COLLATE "C",
  lease_expires_at BIGINT,
  cancel_requested BOOLEAN NOT NULL,
  progress TEXT COLLATE "C" NOT NULL,
  -- At most one unfinished task has it.
  dedup_key TEXT COLLATE "C",
  -- Why it ended or was last retried, in words.
  error TEXT COLLATE "C",
  log_lines BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  started_at BIGINT,
  finished_at BIGINT
);
CREATE INDEX task_ready ON task (queue, priority DESC, run_at, task_id) WHERE state = 'READY';
CREATE INDEX task_leased ON task (lease_expires_at) WHERE state = 'RUNNING';
CREATE UNIQUE INDEX task_dedup ON task (dedup_key)
  WHERE dedup_key IS NOT NULL AND state IN ('READY', 'RUNNING');

CREATE TABLE task_log (
  task_id TEXT COLLATE "C" NOT NULL REFERENCES task (task_id) ON DELETE CASCADE,
  line_number BIGINT NOT NULL,
  message TEXT COLLATE "C" NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (task_id, line_number)
);

-- A schedule fires a task when its time has come; whoever moves next_at forward has fired it.
CREATE TABLE schedule (
  schedule_id TEXT COLLATE "C" PRIMARY KEY,
  kind TEXT COLLATE "C" NOT NULL,
  payload TEXT COLLATE "C" NOT NULL,
  interval_ms BIGINT NOT NULL,
  next_at BIGINT NOT NULL
);
CREATE INDEX schedule_due ON schedule (next_at);

CREATE TABLE build_rule (
  rule_id TEXT COLLATE "C" PRIMARY KEY,
  instance_id TEXT COLLATE "C" NOT NULL REFERENCES instance (instance_id),
  artifact_type TEXT COLLATE "C" NOT NULL,
  scope_type TEXT COLLATE "C" NOT NULL,
  scope_id TEXT COLLATE "C" NOT NULL,
  -- JSON of Parameters.
  parameters TEXT COLLATE "C" NOT NULL,
  created_at BIGINT NOT NULL,
  modified_at BIGINT NOT NULL,
  UNIQUE (scope_type, scope_id, artifact_type)
);

-- Its state, times and log are those of the task of the same id.
CREATE TABLE build_task (
  task_id TEXT COLLATE "C" PRIMARY KEY REFERENCES task (task_id),
  instance_id TEXT COLLATE "C" NOT NULL,
  repo_id TEXT COLLATE "C" NOT NULL,
  build_type TEXT COLLATE "C" NOT NULL,
  rule_id TEXT COLLATE "C",
  -- JSON of Parameters as they stood when the task was made.
  parameters TEXT COLLATE "C" NOT NULL,
  priority BIGINT NOT NULL,
  source_tag TEXT COLLATE "C" NOT NULL,
  source_digest TEXT COLLATE "C" NOT NULL,
  source_size BIGINT NOT NULL,
  source_layer_count BIGINT NOT NULL,
  target_tag TEXT COLLATE "C" NOT NULL,
  target_digest TEXT COLLATE "C",
  target_size BIGINT,
  target_layer_count BIGINT,
  created_at BIGINT NOT NULL
);
CREATE INDEX build_task_by_repository ON build_task (repo_id, created_at);
CREATE INDEX build_task_by_instance ON build_task (instance_id, created_at);

-- A layer that was converted: chain is the hash of everything that its bytes depend on.
CREATE TABLE converted_layer (
  chain TEXT COLLATE "C" PRIMARY KEY,
  digest TEXT COLLATE "C" NOT NULL REFERENCES blob (digest),
  size BIGINT NOT NULL,
  created_at BIGINT NOT NULL
);

CREATE TABLE subscription_rule (
  rule_id TEXT COLLATE "C" PRIMARY KEY,
  instance_id TEXT COLLATE "C" NOT NULL REFERENCES instance (instance_id),
  namespace_name TEXT COLLATE "C" NOT NULL,
  repo_name TEXT COLLATE "C" NOT NULL,
  source_provider TEXT COLLATE "C" NOT NULL,
  source_domain TEXT COLLATE "C" NOT NULL,
  source_namespace_name TEXT COLLATE "C" NOT NULL,
  source_repo_name TEXT COLLATE "C" NOT NULL,
  -- JSON array of os/architecture.
  platforms TEXT COLLATE "C" NOT NULL,
  tag_regexp TEXT COLLATE "C" NOT NULL,
  tag_count BIGINT NOT NULL,
  override_tags BOOLEAN NOT NULL,
  accelerate BOOLEAN NOT NULL,
  created_at BIGINT NOT NULL,
  modified_at BIGINT NOT NULL
);
CREATE INDEX subscription_rule_by_instance ON subscription_rule (instance_id, created_at);

-- The rule as it stood; its state, times and log are those of the task of the same id.
CREATE TABLE subscription_task (
  task_id TEXT COLLATE "C" PRIMARY KEY REFERENCES task (task_id),
  instance_id TEXT COLLATE "C" NOT NULL,
  rule_id TEXT COLLATE "C" NOT NULL,
  -- AUTO or MANUAL.
  task_type TEXT COLLATE "C" NOT NULL,
  -- JSON of the rule.
  rule TEXT COLLATE "C" NOT NULL,
  namespace_name TEXT COLLATE "C" NOT NULL,
  repo_name TEXT COLLATE "C" NOT NULL,
  source_provider TEXT COLLATE "C" NOT NULL,
  source_namespace_name TEXT COLLATE "C" NOT NULL,
  source_repo_name TEXT COLLATE "C" NOT NULL,
  tag_total_count BIGINT,
  tag_subscription_count BIGINT,
  -- SUCCESS or FAILED once it ended.
  result TEXT COLLATE "C",
  message TEXT COLLATE "C",
  created_at BIGINT NOT NULL
);
CREATE INDEX subscription_task_by_instance ON subscription_task (instance_id, created_at);

-- One row per selected tag: status PENDING, RUNNING, COMPLETED; result SUCCESS, FAILED.
CREATE TABLE subscription_result (
  task_id TEXT COLLATE "C" NOT NULL REFERENCES subscription_task (task_id) ON DELETE CASCADE,
  tag TEXT COLLATE "C" NOT NULL,
  position BIGINT NOT NULL,
  status TEXT COLLATE "C" NOT NULL,
  result TEXT COLLATE "C",
  message TEXT COLLATE "C",
  digest TEXT COLLATE "C",
  started_at BIGINT,
  finished_at BIGINT,
  PRIMARY KEY (task_id, tag)
);
