-- A page in the middle of a million rows is reached over a few thousand. The PostgreSQL file of the same
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
  list TEXT NOT NULL,
  owner TEXT NOT NULL,
  part BIGINT NOT NULL,
  filter TEXT NOT NULL,
  shard TEXT NOT NULL,
  amount BIGINT NOT NULL,
  PRIMARY KEY (list, owner, part, filter, shard)
) WITHOUT ROWID;

CREATE TRIGGER build_task_part_added AFTER INSERT ON build_task BEGIN
  INSERT INTO list_part (list, owner, part, filter, shard, amount) VALUES
    ('build_task', NEW.instance_id || '  ', NEW.part, NEW.listed_status, '', 1),
    ('build_task', NEW.instance_id || ' ' || NEW.repo_id || ' ', NEW.part, NEW.listed_status, '', 1),
    ('build_task', NEW.instance_id || '  ' || NEW.source_tag, NEW.part, NEW.listed_status, '', 1),
    ('build_task', '', NEW.part, '', '', 1)
    ON CONFLICT (list, owner, part, filter, shard) DO UPDATE SET amount = amount + 1;
END;
CREATE TRIGGER build_task_part_removed AFTER DELETE ON build_task BEGIN
  UPDATE list_part SET amount = amount - 1 WHERE list = 'build_task' AND part = OLD.part AND owner IN (
      OLD.instance_id || '  ',
      OLD.instance_id || ' ' || OLD.repo_id || ' ',
      OLD.instance_id || '  ' || OLD.source_tag
    ) AND filter = OLD.listed_status;
  DELETE FROM list_part WHERE list = 'build_task' AND part = OLD.part AND owner IN (
      OLD.instance_id || '  ',
      OLD.instance_id || ' ' || OLD.repo_id || ' ',
      OLD.instance_id || '  ' || OLD.source_tag
    ) AND filter = OLD.listed_status AND amount = 0;
  UPDATE list_part SET amount = amount - 1
    WHERE list = 'build_task' AND owner = '' AND part = OLD.part AND filter = '';
  DELETE FROM list_part
    WHERE list = 'build_task' AND owner = '' AND part = OLD.part AND filter = '' AND amount = 0;
END;
CREATE TRIGGER build_task_part_changed AFTER UPDATE OF listed_status ON build_task
WHEN OLD.listed_status <> NEW.listed_status BEGIN
  UPDATE list_part SET amount = amount - 1 WHERE list = 'build_task' AND part = OLD.part AND owner IN (
      OLD.instance_id || '  ',
      OLD.instance_id || ' ' || OLD.repo_id || ' ',
      OLD.instance_id || '  ' || OLD.source_tag
    ) AND filter = OLD.listed_status;
  DELETE FROM list_part WHERE list = 'build_task' AND part = OLD.part AND owner IN (
      OLD.instance_id || '  ',
      OLD.instance_id || ' ' || OLD.repo_id || ' ',
      OLD.instance_id || '  ' || OLD.source_tag
    ) AND filter = OLD.listed_status AND amount = 0;
  INSERT INTO list_part (list, owner, part, filter, shard, amount) VALUES
    ('build_task', NEW.instance_id || '  ', NEW.part, NEW.listed_status, '', 1),
    ('build_task', NEW.instance_id || ' ' || NEW.repo_id || ' ', NEW.part, NEW.listed_status, '', 1),
    ('build_task', NEW.instance_id || '  ' || NEW.source_tag, NEW.part, NEW.listed_status, '', 1)
    ON CONFLICT (list, owner, part, filter, shard) DO UPDATE SET amount = amount + 1;
END;

CREATE TRIGGER subscription_task_part_added AFTER INSERT ON subscription_task BEGIN
  INSERT INTO list_part (list, owner, part, filter, shard, amount) VALUES
    ('subscription_task', NEW.instance_id || ' ', NEW.part, '', '', 1),
    ('subscription_task', NEW.instance_id || ' ' || NEW.rule_id, NEW.part, '', '', 1),
    ('subscription_task', '', NEW.part, '', '', 1)
    ON CONFLICT (list, owner, part, filter, shard) DO UPDATE SET amount = amount + 1;
END;
CREATE TRIGGER subscription_task_part_removed AFTER DELETE ON subscription_task BEGIN
  UPDATE list_part SET amount = amount - 1 WHERE list = 'subscription_task' AND owner IN (
      '',
      OLD.instance_id || ' ',
      OLD.instance_id || ' ' || OLD.rule_id
    ) AND part = OLD.part AND filter = '';
  DELETE FROM list_part WHERE list = 'subscription_task' AND owner IN (
      '',
      OLD.instance_id || ' ',
      OLD.instance_id || ' ' || OLD.rule_id
    ) AND part = OLD.part AND filter = '' AND amount = 0;
END;

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
CREATE TRIGGER task_of_tenant_added AFTER INSERT ON task WHEN NEW.queue = 'maintenance' BEGIN
  INSERT INTO list_count (list, owner, filter, shard, amount)
    VALUES ('task', NEW.queue || ' ' || NEW.tenant, NEW.kind, '', 1)
    ON CONFLICT (list, owner, filter, shard) DO UPDATE SET amount = amount + 1;
END;
CREATE TRIGGER task_of_tenant_removed AFTER DELETE ON task WHEN OLD.queue = 'maintenance' BEGIN
  UPDATE list_count SET amount = amount - 1
    WHERE list = 'task' AND owner = OLD.queue || ' ' || OLD.tenant AND filter = OLD.kind;
  DELETE FROM list_count WHERE list = 'task' AND owner = OLD.queue || ' ' || OLD.tenant
    AND filter = OLD.kind AND amount = 0;
END;
INSERT INTO list_count (list, owner, filter, shard, amount)
  SELECT 'task', queue || ' ' || tenant, kind, '', COUNT(*) FROM task WHERE queue = 'maintenance'
  GROUP BY 2, 3;
