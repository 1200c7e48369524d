-- Lists cost the same at any size. The SQLite file of the same number makes the same.

-- How many rows a list has, for each filter that it knows: the sum of `amount` over the shards. The
-- triggers below keep it in the transaction that changes the rows, whoever changes them. A transaction
-- takes any shard that nobody holds and makes a new one when all are held: nobody waits for another, and
-- there are at most as many as ever changed the same sum at the same time.
CREATE TABLE list_count (
  list TEXT COLLATE "C" NOT NULL,
  -- Whose list, and the exact filters, separated by spaces: '' where a filter takes all.
  owner TEXT COLLATE "C" NOT NULL,
  -- A state or kind; the sum over all of them is the list without that filter.
  filter TEXT COLLATE "C" NOT NULL,
  shard TEXT COLLATE "C" NOT NULL,
  amount BIGINT NOT NULL,
  PRIMARY KEY (list, owner, filter, shard)
) WITH (fillfactor = 50);

-- What a list of builds sorts and counts by: how its task stands (ADR 2), written by the trigger on
-- `task` and by nobody else.
ALTER TABLE build_task ADD COLUMN listed_status TEXT COLLATE "C" NOT NULL DEFAULT 'PENDING';
UPDATE build_task SET listed_status = COALESCE((SELECT
  CASE WHEN t.state = 'SUCCEEDED' THEN 'SUCCEEDED'
    WHEN t.state IN ('FAILED', 'CANCELED') THEN 'FAILED'
    WHEN t.state = 'READY' AND t.attempt = 0 THEN 'PENDING' ELSE 'RUNNING' END
  FROM task t WHERE t.task_id = build_task.task_id), 'PENDING');

-- A page is read from an index that has the filter's columns before those of the order.
DROP INDEX build_task_by_instance;
CREATE INDEX build_task_page ON build_task (instance_id, created_at, task_id);
CREATE INDEX build_task_page_repo ON build_task (instance_id, repo_id, created_at, task_id);
CREATE INDEX build_task_page_tag ON build_task (instance_id, source_tag, created_at, task_id);
CREATE INDEX build_task_page_repo_tag
  ON build_task (instance_id, repo_id, source_tag, created_at, task_id);
CREATE INDEX build_task_page_status ON build_task (instance_id, listed_status, created_at, task_id);
CREATE INDEX build_task_page_repo_status
  ON build_task (instance_id, repo_id, listed_status, created_at, task_id);
CREATE INDEX build_task_page_tag_status
  ON build_task (instance_id, source_tag, listed_status, created_at, task_id);
CREATE INDEX build_task_page_repo_tag_status
  ON build_task (instance_id, repo_id, source_tag, listed_status, created_at, task_id);
DROP INDEX subscription_rule_by_instance;
CREATE INDEX subscription_rule_page ON subscription_rule (instance_id, created_at, rule_id);
CREATE INDEX subscription_rule_of_target
  ON subscription_rule (instance_id, namespace_name, repo_name, created_at, rule_id);
DROP INDEX subscription_task_by_instance;
CREATE INDEX subscription_task_page ON subscription_task (instance_id, created_at, task_id);
CREATE INDEX subscription_task_page_rule
  ON subscription_task (instance_id, rule_id, created_at, task_id);
CREATE INDEX subscription_task_of_target
  ON subscription_task (instance_id, namespace_name, repo_name, created_at, task_id);
CREATE INDEX subscription_result_page ON subscription_result (task_id, position, tag);
DROP INDEX task_by_queue;
CREATE INDEX task_page ON task (queue, created_at, task_id);
CREATE INDEX task_page_kind ON task (queue, kind, created_at, task_id);
CREATE INDEX namespace_page_status ON namespace (instance_id, status, name);
CREATE INDEX repository_page_status ON repository (instance_id, status, namespace_name, name);
CREATE INDEX repository_page_namespace_status
  ON repository (instance_id, namespace_name, status, name);
CREATE INDEX tag_page ON tag (repo_id, updated_at DESC, name);
CREATE INDEX upload_by_repository ON upload (repo_id);

CREATE FUNCTION count_listed(for_list TEXT, for_owner TEXT, for_filter TEXT, change BIGINT)
RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
  mine TEXT;
  rest BIGINT;
BEGIN
  SELECT c.shard INTO mine FROM list_count c
    WHERE c.list = for_list AND c.owner = for_owner AND c.filter = for_filter
    LIMIT 1 FOR UPDATE SKIP LOCKED;
  IF mine IS NULL THEN
    INSERT INTO list_count (list, owner, filter, shard, amount)
      VALUES (for_list, for_owner, for_filter, txid_current()::TEXT, change);
    RETURN;
  END IF;
  UPDATE list_count c SET amount = c.amount + change
    WHERE c.list = for_list AND c.owner = for_owner AND c.filter = for_filter AND c.shard = mine
    RETURNING c.amount INTO rest;
  IF rest = 0 THEN
    DELETE FROM list_count c
      WHERE c.list = for_list AND c.owner = for_owner AND c.filter = for_filter AND c.shard = mine;
  END IF;
END $$;

CREATE FUNCTION list_task() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  UPDATE build_task SET listed_status =
    CASE WHEN NEW.state = 'SUCCEEDED' THEN 'SUCCEEDED'
      WHEN NEW.state IN ('FAILED', 'CANCELED') THEN 'FAILED'
      WHEN NEW.state = 'READY' AND NEW.attempt = 0 THEN 'PENDING' ELSE 'RUNNING' END
    WHERE task_id = NEW.task_id;
  RETURN NULL;
END $$;
CREATE TRIGGER task_listed AFTER UPDATE OF state, attempt ON task FOR EACH ROW
  WHEN (OLD.state <> NEW.state OR OLD.attempt <> NEW.attempt) EXECUTE FUNCTION list_task();

CREATE FUNCTION count_build_task() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM count_listed('build_task', c.owner, c.filter, c.change) FROM (
      SELECT k.owner, r.listed_status AS filter, SUM(r.change)::BIGINT AS change
      FROM (SELECT *, 1 AS change FROM added) r
      CROSS JOIN LATERAL (VALUES (r.instance_id || '  '), (r.instance_id || ' ' || r.repo_id || ' '), (r.instance_id || '  ' || r.source_tag), (r.instance_id || ' ' || r.repo_id || ' ' || r.source_tag)) k (owner)
      GROUP BY 1, 2 HAVING SUM(r.change) <> 0 ORDER BY 1, 2) c;
  ELSIF TG_OP = 'UPDATE' THEN
    PERFORM count_listed('build_task', c.owner, c.filter, c.change) FROM (
      SELECT k.owner, r.listed_status AS filter, SUM(r.change)::BIGINT AS change
      FROM (SELECT *, 1 AS change FROM added
        UNION ALL SELECT *, -1 AS change FROM removed) r
      CROSS JOIN LATERAL (VALUES (r.instance_id || '  '), (r.instance_id || ' ' || r.repo_id || ' '), (r.instance_id || '  ' || r.source_tag), (r.instance_id || ' ' || r.repo_id || ' ' || r.source_tag)) k (owner)
      GROUP BY 1, 2 HAVING SUM(r.change) <> 0 ORDER BY 1, 2) c;
  ELSE
    PERFORM count_listed('build_task', c.owner, c.filter, c.change) FROM (
      SELECT k.owner, r.listed_status AS filter, SUM(r.change)::BIGINT AS change
      FROM (SELECT *, -1 AS change FROM removed) r
      CROSS JOIN LATERAL (VALUES (r.instance_id || '  '), (r.instance_id || ' ' || r.repo_id || ' '), (r.instance_id || '  ' || r.source_tag), (r.instance_id || ' ' || r.repo_id || ' ' || r.source_tag)) k (owner)
      GROUP BY 1, 2 HAVING SUM(r.change) <> 0 ORDER BY 1, 2) c;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER build_task_added AFTER INSERT ON build_task REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION count_build_task();
CREATE TRIGGER build_task_removed AFTER DELETE ON build_task REFERENCING OLD TABLE AS removed
  FOR EACH STATEMENT EXECUTE FUNCTION count_build_task();
CREATE TRIGGER build_task_changed AFTER UPDATE ON build_task
  REFERENCING OLD TABLE AS removed NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION count_build_task();

CREATE FUNCTION count_subscription_task() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM count_listed('subscription_task', c.owner, c.filter, c.change) FROM (
      SELECT k.owner, '' AS filter, SUM(r.change)::BIGINT AS change
      FROM (SELECT *, 1 AS change FROM added) r
      CROSS JOIN LATERAL (VALUES (r.instance_id || ' '), (r.instance_id || ' ' || r.rule_id)) k (owner)
      GROUP BY 1, 2 HAVING SUM(r.change) <> 0 ORDER BY 1, 2) c;
  ELSE
    PERFORM count_listed('subscription_task', c.owner, c.filter, c.change) FROM (
      SELECT k.owner, '' AS filter, SUM(r.change)::BIGINT AS change
      FROM (SELECT *, -1 AS change FROM removed) r
      CROSS JOIN LATERAL (VALUES (r.instance_id || ' '), (r.instance_id || ' ' || r.rule_id)) k (owner)
      GROUP BY 1, 2 HAVING SUM(r.change) <> 0 ORDER BY 1, 2) c;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER subscription_task_added AFTER INSERT ON subscription_task REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION count_subscription_task();
CREATE TRIGGER subscription_task_removed AFTER DELETE ON subscription_task REFERENCING OLD TABLE AS removed
  FOR EACH STATEMENT EXECUTE FUNCTION count_subscription_task();

CREATE FUNCTION count_subscription_rule() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM count_listed('subscription_rule', c.owner, c.filter, c.change) FROM (
      SELECT r.instance_id AS owner, '' AS filter, SUM(r.change)::BIGINT AS change
      FROM (SELECT *, 1 AS change FROM added) r
      GROUP BY 1, 2 HAVING SUM(r.change) <> 0 ORDER BY 1, 2) c;
  ELSE
    PERFORM count_listed('subscription_rule', c.owner, c.filter, c.change) FROM (
      SELECT r.instance_id AS owner, '' AS filter, SUM(r.change)::BIGINT AS change
      FROM (SELECT *, -1 AS change FROM removed) r
      GROUP BY 1, 2 HAVING SUM(r.change) <> 0 ORDER BY 1, 2) c;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER subscription_rule_added AFTER INSERT ON subscription_rule REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION count_subscription_rule();
CREATE TRIGGER subscription_rule_removed AFTER DELETE ON subscription_rule REFERENCING OLD TABLE AS removed
  FOR EACH STATEMENT EXECUTE FUNCTION count_subscription_rule();

CREATE FUNCTION count_subscription_result() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM count_listed('subscription_result', c.owner, c.filter, c.change) FROM (
      SELECT r.task_id AS owner, '' AS filter, SUM(r.change)::BIGINT AS change
      FROM (SELECT *, 1 AS change FROM added) r
      GROUP BY 1, 2 HAVING SUM(r.change) <> 0 ORDER BY 1, 2) c;
  ELSE
    PERFORM count_listed('subscription_result', c.owner, c.filter, c.change) FROM (
      SELECT r.task_id AS owner, '' AS filter, SUM(r.change)::BIGINT AS change
      FROM (SELECT *, -1 AS change FROM removed) r
      GROUP BY 1, 2 HAVING SUM(r.change) <> 0 ORDER BY 1, 2) c;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER subscription_result_added AFTER INSERT ON subscription_result REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION count_subscription_result();
CREATE TRIGGER subscription_result_removed AFTER DELETE ON subscription_result REFERENCING OLD TABLE AS removed
  FOR EACH STATEMENT EXECUTE FUNCTION count_subscription_result();

CREATE FUNCTION count_task() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM count_listed('task', c.owner, c.filter, c.change) FROM (
      SELECT r.queue AS owner, r.kind AS filter, SUM(r.change)::BIGINT AS change
      FROM (SELECT *, 1 AS change FROM added) r
      GROUP BY 1, 2 HAVING SUM(r.change) <> 0 ORDER BY 1, 2) c;
  ELSE
    PERFORM count_listed('task', c.owner, c.filter, c.change) FROM (
      SELECT r.queue AS owner, r.kind AS filter, SUM(r.change)::BIGINT AS change
      FROM (SELECT *, -1 AS change FROM removed) r
      GROUP BY 1, 2 HAVING SUM(r.change) <> 0 ORDER BY 1, 2) c;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER task_added AFTER INSERT ON task REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION count_task();
CREATE TRIGGER task_removed AFTER DELETE ON task REFERENCING OLD TABLE AS removed
  FOR EACH STATEMENT EXECUTE FUNCTION count_task();

CREATE FUNCTION count_namespace() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM count_listed('namespace', c.owner, c.filter, c.change) FROM (
      SELECT r.instance_id AS owner, r.status AS filter, SUM(r.change)::BIGINT AS change
      FROM (SELECT *, 1 AS change FROM added) r
      GROUP BY 1, 2 HAVING SUM(r.change) <> 0 ORDER BY 1, 2) c;
  ELSIF TG_OP = 'UPDATE' THEN
    PERFORM count_listed('namespace', c.owner, c.filter, c.change) FROM (
      SELECT r.instance_id AS owner, r.status AS filter, SUM(r.change)::BIGINT AS change
      FROM (SELECT *, 1 AS change FROM added
        UNION ALL SELECT *, -1 AS change FROM removed) r
      GROUP BY 1, 2 HAVING SUM(r.change) <> 0 ORDER BY 1, 2) c;
  ELSE
    PERFORM count_listed('namespace', c.owner, c.filter, c.change) FROM (
      SELECT r.instance_id AS owner, r.status AS filter, SUM(r.change)::BIGINT AS change
      FROM (SELECT *, -1 AS change FROM removed) r
      GROUP BY 1, 2 HAVING SUM(r.change) <> 0 ORDER BY 1, 2) c;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER namespace_added AFTER INSERT ON namespace REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION count_namespace();
CREATE TRIGGER namespace_removed AFTER DELETE ON namespace REFERENCING OLD TABLE AS removed
  FOR EACH STATEMENT EXECUTE FUNCTION count_namespace();
CREATE TRIGGER namespace_changed AFTER UPDATE ON namespace
  REFERENCING OLD TABLE AS removed NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION count_namespace();

CREATE FUNCTION count_repository() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM count_listed('repository', c.owner, c.filter, c.change) FROM (
      SELECT k.owner, r.status AS filter, SUM(r.change)::BIGINT AS change
      FROM (SELECT *, 1 AS change FROM added) r
      CROSS JOIN LATERAL (VALUES (r.instance_id || ' '), (r.instance_id || ' ' || r.namespace_name)) k (owner)
      GROUP BY 1, 2 HAVING SUM(r.change) <> 0 ORDER BY 1, 2) c;
  ELSIF TG_OP = 'UPDATE' THEN
    PERFORM count_listed('repository', c.owner, c.filter, c.change) FROM (
      SELECT k.owner, r.status AS filter, SUM(r.change)::BIGINT AS change
      FROM (SELECT *, 1 AS change FROM added
        UNION ALL SELECT *, -1 AS change FROM removed) r
      CROSS JOIN LATERAL (VALUES (r.instance_id || ' '), (r.instance_id || ' ' || r.namespace_name)) k (owner)
      GROUP BY 1, 2 HAVING SUM(r.change) <> 0 ORDER BY 1, 2) c;
  ELSE
    PERFORM count_listed('repository', c.owner, c.filter, c.change) FROM (
      SELECT k.owner, r.status AS filter, SUM(r.change)::BIGINT AS change
      FROM (SELECT *, -1 AS change FROM removed) r
      CROSS JOIN LATERAL (VALUES (r.instance_id || ' '), (r.instance_id || ' ' || r.namespace_name)) k (owner)
      GROUP BY 1, 2 HAVING SUM(r.change) <> 0 ORDER BY 1, 2) c;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER repository_added AFTER INSERT ON repository REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION count_repository();
CREATE TRIGGER repository_removed AFTER DELETE ON repository REFERENCING OLD TABLE AS removed
  FOR EACH STATEMENT EXECUTE FUNCTION count_repository();
CREATE TRIGGER repository_changed AFTER UPDATE ON repository
  REFERENCING OLD TABLE AS removed NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION count_repository();

CREATE FUNCTION count_tag() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM count_listed('tag', c.owner, c.filter, c.change) FROM (
      SELECT r.repo_id AS owner, '' AS filter, SUM(r.change)::BIGINT AS change
      FROM (SELECT *, 1 AS change FROM added) r
      GROUP BY 1, 2 HAVING SUM(r.change) <> 0 ORDER BY 1, 2) c;
  ELSE
    PERFORM count_listed('tag', c.owner, c.filter, c.change) FROM (
      SELECT r.repo_id AS owner, '' AS filter, SUM(r.change)::BIGINT AS change
      FROM (SELECT *, -1 AS change FROM removed) r
      GROUP BY 1, 2 HAVING SUM(r.change) <> 0 ORDER BY 1, 2) c;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER tag_added AFTER INSERT ON tag REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION count_tag();
CREATE TRIGGER tag_removed AFTER DELETE ON tag REFERENCING OLD TABLE AS removed
  FOR EACH STATEMENT EXECUTE FUNCTION count_tag();

-- What is there already.
INSERT INTO list_count (list, owner, filter, shard, amount)
  SELECT 'build_task', instance_id || '  ', listed_status, '', COUNT(*) FROM build_task GROUP BY 2, 3
  UNION ALL
  SELECT 'build_task', instance_id || ' ' || repo_id || ' ', listed_status, '', COUNT(*)
    FROM build_task GROUP BY 2, 3
  UNION ALL
  SELECT 'build_task', instance_id || '  ' || source_tag, listed_status, '', COUNT(*)
    FROM build_task GROUP BY 2, 3
  UNION ALL
  SELECT 'build_task', instance_id || ' ' || repo_id || ' ' || source_tag, listed_status, '',
    COUNT(*) FROM build_task GROUP BY 2, 3
  UNION ALL
  SELECT 'subscription_task', instance_id || ' ', '', '', COUNT(*) FROM subscription_task GROUP BY 2
  UNION ALL
  SELECT 'subscription_task', instance_id || ' ' || rule_id, '', '', COUNT(*)
    FROM subscription_task GROUP BY 2
  UNION ALL
  SELECT 'subscription_rule', instance_id, '', '', COUNT(*) FROM subscription_rule GROUP BY 2
  UNION ALL
  SELECT 'subscription_result', task_id, '', '', COUNT(*) FROM subscription_result GROUP BY 2
  UNION ALL
  SELECT 'task', queue, kind, '', COUNT(*) FROM task GROUP BY 2, 3
  UNION ALL
  SELECT 'namespace', instance_id, status, '', COUNT(*) FROM namespace GROUP BY 2, 3
  UNION ALL
  SELECT 'repository', instance_id || ' ', status, '', COUNT(*) FROM repository GROUP BY 2, 3
  UNION ALL
  SELECT 'repository', instance_id || ' ' || namespace_name, status, '', COUNT(*)
    FROM repository GROUP BY 2, 3
  UNION ALL
  SELECT 'tag', repo_id, '', '', COUNT(*) FROM tag GROUP BY 2;
