-- A page in the middle of a million rows is reached over a few thousand. The SQLite file of the same
-- number makes the same.

-- Rows of a list are in parts, in the order in which they came: a row goes into the last part, or into a
-- new one when that has 4 096 (about: on PostgreSQL two that come at once may differ). What is listed is
-- in the order of parts, so that whole parts can be passed over by their counts.
ALTER TABLE build_task ADD COLUMN part BIGINT NOT NULL DEFAULT 0;
ALTER TABLE subscription_task ADD COLUMN part BIGINT NOT NULL DEFAULT 0;
UPDATE build_task SET part = r.part FROM (SELECT task_id,
  (ROW_NUMBER() OVER (ORDER BY created_at, task_id) - 1) / 4096 AS part FROM build_task) r
  WHERE r.task_id = build_task.task_id;
UPDATE subscription_task SET part = r.part FROM (SELECT task_id,
  (ROW_NUMBER() OVER (ORDER BY created_at, task_id) - 1) / 4096 AS part FROM subscription_task) r
  WHERE r.task_id = subscription_task.task_id;
DROP INDEX build_task_page;
CREATE INDEX build_task_page ON build_task (instance_id, part, created_at, task_id);
DROP INDEX build_task_page_repo;
CREATE INDEX build_task_page_repo ON build_task (instance_id, repo_id, part, created_at, task_id);
DROP INDEX build_task_page_tag;
CREATE INDEX build_task_page_tag ON build_task (instance_id, source_tag, part, created_at, task_id);
DROP INDEX build_task_page_repo_tag;
CREATE INDEX build_task_page_repo_tag
  ON build_task (instance_id, repo_id, source_tag, part, created_at, task_id);
DROP INDEX build_task_page_status;
CREATE INDEX build_task_page_status
  ON build_task (instance_id, listed_status, part, created_at, task_id);
DROP INDEX build_task_page_repo_status;
CREATE INDEX build_task_page_repo_status
  ON build_task (instance_id, repo_id, listed_status, part, created_at, task_id);
DROP INDEX build_task_page_tag_status;
CREATE INDEX build_task_page_tag_status
  ON build_task (instance_id, source_tag, listed_status, part, created_at, task_id);
DROP INDEX build_task_page_repo_tag_status;
CREATE INDEX build_task_page_repo_tag_status
  ON build_task (instance_id, repo_id, source_tag, listed_status, part, created_at, task_id);
DROP INDEX subscription_task_page;
CREATE INDEX subscription_task_page ON subscription_task (instance_id, part, created_at, task_id);
DROP INDEX subscription_task_page_rule;
CREATE INDEX subscription_task_page_rule
  ON subscription_task (instance_id, rule_id, part, created_at, task_id);

-- How many rows of each part a list has, as `list_count` has it for all parts together, but for builds of
-- a repository and a tag at once, which are few. The owner '' has what the part holds in all.
CREATE TABLE list_part (
  list TEXT COLLATE "C" NOT NULL,
  owner TEXT COLLATE "C" NOT NULL,
  part BIGINT NOT NULL,
  filter TEXT COLLATE "C" NOT NULL,
  shard TEXT COLLATE "C" NOT NULL,
  amount BIGINT NOT NULL,
  PRIMARY KEY (list, owner, part, filter, shard)
) WITH (fillfactor = 50);

CREATE FUNCTION count_part(for_list TEXT, for_owner TEXT, for_part BIGINT, for_filter TEXT, change BIGINT)
RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
  mine TEXT;
  rest BIGINT;
BEGIN
  SELECT c.shard INTO mine FROM list_part c
    WHERE c.list = for_list AND c.owner = for_owner AND c.part = for_part AND c.filter = for_filter
    LIMIT 1 FOR UPDATE SKIP LOCKED;
  IF mine IS NULL THEN
    INSERT INTO list_part (list, owner, part, filter, shard, amount)
      VALUES (for_list, for_owner, for_part, for_filter, txid_current()::TEXT, change);
    RETURN;
  END IF;
  UPDATE list_part c SET amount = c.amount + change
    WHERE c.list = for_list AND c.owner = for_owner AND c.part = for_part AND c.filter = for_filter
    AND c.shard = mine RETURNING c.amount INTO rest;
  IF rest = 0 THEN
    DELETE FROM list_part c
      WHERE c.list = for_list AND c.owner = for_owner AND c.part = for_part AND c.filter = for_filter
      AND c.shard = mine;
  END IF;
END $$;

CREATE FUNCTION count_parts_of_build_task() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM count_part('build_task', c.owner, c.part, c.filter, c.change) FROM (
      SELECT k.owner, r.part, k.filter, SUM(r.change)::BIGINT AS change
      FROM (SELECT *, 1 AS change FROM added) r
      CROSS JOIN LATERAL (VALUES (r.instance_id || '  ', r.listed_status),
        (r.instance_id || ' ' || r.repo_id || ' ', r.listed_status),
        (r.instance_id || '  ' || r.source_tag, r.listed_status),
        ('', '')) k (owner, filter)
      GROUP BY 1, 2, 3 HAVING SUM(r.change) <> 0 ORDER BY 1, 2, 3) c;
  ELSIF TG_OP = 'UPDATE' THEN
    PERFORM count_part('build_task', c.owner, c.part, c.filter, c.change) FROM (
      SELECT k.owner, r.part, k.filter, SUM(r.change)::BIGINT AS change
      FROM (SELECT *, 1 AS change FROM added
        UNION ALL SELECT *, -1 AS change FROM removed) r
      CROSS JOIN LATERAL (VALUES (r.instance_id || '  ', r.listed_status),
        (r.instance_id || ' ' || r.repo_id || ' ', r.listed_status),
        (r.instance_id || '  ' || r.source_tag, r.listed_status),
        ('', '')) k (owner, filter)
      GROUP BY 1, 2, 3 HAVING SUM(r.change) <> 0 ORDER BY 1, 2, 3) c;
  ELSE
    PERFORM count_part('build_task', c.owner, c.part, c.filter, c.change) FROM (
      SELECT k.owner, r.part, k.filter, SUM(r.change)::BIGINT AS change
      FROM (SELECT *, -1 AS change FROM removed) r
      CROSS JOIN LATERAL (VALUES (r.instance_id || '  ', r.listed_status),
        (r.instance_id || ' ' || r.repo_id || ' ', r.listed_status),
        (r.instance_id || '  ' || r.source_tag, r.listed_status),
        ('', '')) k (owner, filter)
      GROUP BY 1, 2, 3 HAVING SUM(r.change) <> 0 ORDER BY 1, 2, 3) c;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER build_task_part_added AFTER INSERT ON build_task REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION count_parts_of_build_task();
CREATE TRIGGER build_task_part_removed AFTER DELETE ON build_task REFERENCING OLD TABLE AS removed
  FOR EACH STATEMENT EXECUTE FUNCTION count_parts_of_build_task();
CREATE TRIGGER build_task_part_changed AFTER UPDATE ON build_task
  REFERENCING OLD TABLE AS removed NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION count_parts_of_build_task();

CREATE FUNCTION count_parts_of_subscription_task() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM count_part('subscription_task', c.owner, c.part, c.filter, c.change) FROM (
      SELECT k.owner, r.part, k.filter, SUM(r.change)::BIGINT AS change
      FROM (SELECT *, 1 AS change FROM added) r
      CROSS JOIN LATERAL (VALUES (r.instance_id || ' ', ''),
        (r.instance_id || ' ' || r.rule_id, ''),
        ('', '')) k (owner, filter)
      GROUP BY 1, 2, 3 HAVING SUM(r.change) <> 0 ORDER BY 1, 2, 3) c;
  ELSE
    PERFORM count_part('subscription_task', c.owner, c.part, c.filter, c.change) FROM (
      SELECT k.owner, r.part, k.filter, SUM(r.change)::BIGINT AS change
      FROM (SELECT *, -1 AS change FROM removed) r
      CROSS JOIN LATERAL (VALUES (r.instance_id || ' ', ''),
        (r.instance_id || ' ' || r.rule_id, ''),
        ('', '')) k (owner, filter)
      GROUP BY 1, 2, 3 HAVING SUM(r.change) <> 0 ORDER BY 1, 2, 3) c;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER subscription_task_part_added AFTER INSERT ON subscription_task REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION count_parts_of_subscription_task();
CREATE TRIGGER subscription_task_part_removed AFTER DELETE ON subscription_task REFERENCING OLD TABLE AS removed
  FOR EACH STATEMENT EXECUTE FUNCTION count_parts_of_subscription_task();

-- What is there already.
INSERT INTO list_part (list, owner, part, filter, shard, amount)
  SELECT 'build_task', instance_id || '  ', part, listed_status, '', COUNT(*)
    FROM build_task GROUP BY 2, 3, 4
  UNION ALL
  SELECT 'build_task', instance_id || ' ' || repo_id || ' ', part, listed_status, '', COUNT(*)
    FROM build_task GROUP BY 2, 3, 4
  UNION ALL
  SELECT 'build_task', instance_id || '  ' || source_tag, part, listed_status, '', COUNT(*)
    FROM build_task GROUP BY 2, 3, 4
  UNION ALL
  SELECT 'build_task', '', part, '', '', COUNT(*) FROM build_task GROUP BY 3
  UNION ALL
  SELECT 'subscription_task', instance_id || ' ', part, '', '', COUNT(*)
    FROM subscription_task GROUP BY 2, 3
  UNION ALL
  SELECT 'subscription_task', instance_id || ' ' || rule_id, part, '', '', COUNT(*)
    FROM subscription_task GROUP BY 2, 3
  UNION ALL
  SELECT 'subscription_task', '', part, '', '', COUNT(*) FROM subscription_task GROUP BY 3;

-- Tasks of maintenance are listed by instance, too.
CREATE INDEX task_page_tenant ON task (tenant, created_at, task_id) WHERE queue = 'maintenance';
CREATE INDEX task_page_tenant_kind ON task (tenant, kind, created_at, task_id)
  WHERE queue = 'maintenance';
CREATE OR REPLACE FUNCTION count_task() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM count_listed('task', c.owner, c.filter, c.change) FROM (
      SELECT k.owner, r.kind AS filter, SUM(r.change)::BIGINT AS change
      FROM (SELECT *, 1 AS change FROM added) r
      CROSS JOIN LATERAL (VALUES (r.queue),
        (CASE WHEN r.queue = 'maintenance' THEN r.queue || ' ' || r.tenant END)) k (owner)
      WHERE k.owner IS NOT NULL
      GROUP BY 1, 2 HAVING SUM(r.change) <> 0 ORDER BY 1, 2) c;
  ELSE
    PERFORM count_listed('task', c.owner, c.filter, c.change) FROM (
      SELECT k.owner, r.kind AS filter, SUM(r.change)::BIGINT AS change
      FROM (SELECT *, -1 AS change FROM removed) r
      CROSS JOIN LATERAL (VALUES (r.queue),
        (CASE WHEN r.queue = 'maintenance' THEN r.queue || ' ' || r.tenant END)) k (owner)
      WHERE k.owner IS NOT NULL
      GROUP BY 1, 2 HAVING SUM(r.change) <> 0 ORDER BY 1, 2) c;
  END IF;
  RETURN NULL;
END $$;
INSERT INTO list_count (list, owner, filter, shard, amount)
  SELECT 'task', queue || ' ' || tenant, kind, '', COUNT(*) FROM task WHERE queue = 'maintenance'
  GROUP BY 2, 3;
