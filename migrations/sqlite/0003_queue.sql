-- The queue: whose turn it is, and what an attempt came to. The PostgreSQL file of the same number
-- makes the same.

-- Attempts that failed; only they count against max_attempts.
ALTER TABLE task ADD COLUMN failures BIGINT NOT NULL DEFAULT 0;
-- Workers that were lost while they ran it.
ALTER TABLE task ADD COLUMN losses BIGINT NOT NULL DEFAULT 0;
-- Between whom slots are shared: instances, and within each its repositories or upstream hosts.
ALTER TABLE task ADD COLUMN tenant TEXT NOT NULL DEFAULT '-';
ALTER TABLE task ADD COLUMN share TEXT NOT NULL DEFAULT '-';
-- Place in the order of claims, lower first; NULL of a READY task that waits for its run_at.
ALTER TABLE task ADD COLUMN turn BIGINT;
-- When the running attempt began.
ALTER TABLE task ADD COLUMN claimed_at BIGINT;

DROP INDEX task_ready;
DROP INDEX task_leased;
CREATE INDEX task_turn ON task (queue, turn, task_id) WHERE state = 'READY' AND turn IS NOT NULL;
CREATE INDEX task_share ON task (queue, tenant, share, turn, task_id)
  WHERE state = 'READY' AND turn IS NOT NULL;
CREATE INDEX task_delayed ON task (queue, run_at) WHERE state = 'READY' AND turn IS NULL;
CREATE INDEX task_leased ON task (queue, lease_expires_at) WHERE state = 'RUNNING';

-- What the history of a repository's builds and of a rule's runs is walked by.
CREATE INDEX build_task_by_tag ON build_task (repo_id, source_tag, created_at);
CREATE INDEX subscription_task_by_rule ON subscription_task (rule_id, created_at);
