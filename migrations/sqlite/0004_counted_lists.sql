-- Lists cost the same at any size. The PostgreSQL file of the same number makes the same.

-- How many rows a list has, for each filter that it knows: the sum of `amount` over the shards. The
-- triggers below keep it in the transaction that changes the rows, whoever changes them. On SQLite, where
-- one writes at a time, every sum has one row, of shard ''.
CREATE TABLE list_count (
  list TEXT NOT NULL,
  -- Whose list, and the exact filters, separated by spaces: '' where a filter takes all.
  owner TEXT NOT NULL,
  -- A state or kind; the sum over all of them is the list without that filter.
  filter TEXT NOT NULL,
  shard TEXT NOT NULL,
  amount BIGINT NOT NULL,
  PRIMARY KEY (list, owner, filter, shard)
) WITHOUT ROWID;

-- What a list of builds sorts and counts by: how its task stands (ADR 2), written by the trigger on
-- `task` and by nobody else.
ALTER TABLE build_task ADD COLUMN listed_status TEXT NOT NULL DEFAULT 'PENDING';
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

CREATE TRIGGER task_listed AFTER UPDATE OF state, attempt ON task
WHEN OLD.state <> NEW.state OR OLD.attempt <> NEW.attempt BEGIN
  UPDATE build_task SET listed_status =
    CASE WHEN NEW.state = 'SUCCEEDED' THEN 'SUCCEEDED'
      WHEN NEW.state IN ('FAILED', 'CANCELED') THEN 'FAILED'
      WHEN NEW.state = 'READY' AND NEW.attempt = 0 THEN 'PENDING' ELSE 'RUNNING' END
    WHERE task_id = NEW.task_id;
END;

CREATE TRIGGER build_task_added AFTER INSERT ON build_task BEGIN
  INSERT INTO list_count (list, owner, filter, shard, amount) VALUES
    ('build_task', NEW.instance_id || '  ', NEW.listed_status, '', 1),
    ('build_task', NEW.instance_id || ' ' || NEW.repo_id || ' ', NEW.listed_status, '', 1),
    ('build_task', NEW.instance_id || '  ' || NEW.source_tag, NEW.listed_status, '', 1),
    ('build_task', NEW.instance_id || ' ' || NEW.repo_id || ' ' || NEW.source_tag,
      NEW.listed_status, '', 1)
    ON CONFLICT (list, owner, filter, shard) DO UPDATE SET amount = amount + 1;
END;
CREATE TRIGGER build_task_removed AFTER DELETE ON build_task BEGIN
  UPDATE list_count SET amount = amount - 1 WHERE list = 'build_task' AND owner IN (
    OLD.instance_id || '  ', OLD.instance_id || ' ' || OLD.repo_id || ' ',
    OLD.instance_id || '  ' || OLD.source_tag,
    OLD.instance_id || ' ' || OLD.repo_id || ' ' || OLD.source_tag
  ) AND filter = OLD.listed_status;
  DELETE FROM list_count WHERE list = 'build_task' AND owner IN (
    OLD.instance_id || '  ', OLD.instance_id || ' ' || OLD.repo_id || ' ',
    OLD.instance_id || '  ' || OLD.source_tag,
    OLD.instance_id || ' ' || OLD.repo_id || ' ' || OLD.source_tag
  ) AND filter = OLD.listed_status AND amount = 0;
END;
CREATE TRIGGER build_task_changed AFTER UPDATE OF listed_status ON build_task
WHEN OLD.listed_status <> NEW.listed_status BEGIN
  UPDATE list_count SET amount = amount - 1 WHERE list = 'build_task' AND owner IN (
    OLD.instance_id || '  ', OLD.instance_id || ' ' || OLD.repo_id || ' ',
    OLD.instance_id || '  ' || OLD.source_tag,
    OLD.instance_id || ' ' || OLD.repo_id || ' ' || OLD.source_tag
  ) AND filter = OLD.listed_status;
  DELETE FROM list_count WHERE list = 'build_task' AND owner IN (
    OLD.instance_id || '  ', OLD.instance_id || ' ' || OLD.repo_id || ' ',
    OLD.instance_id || '  ' || OLD.source_tag,
    OLD.instance_id || ' ' || OLD.repo_id || ' ' || OLD.source_tag
  ) AND filter = OLD.listed_status AND amount = 0;
  INSERT INTO list_count (list, owner, filter, shard, amount) VALUES
    ('build_task', NEW.instance_id || '  ', NEW.listed_status, '', 1),
    ('build_task', NEW.instance_id || ' ' || NEW.repo_id || ' ', NEW.listed_status, '', 1),
    ('build_task', NEW.instance_id || '  ' || NEW.source_tag, NEW.listed_status, '', 1),
    ('build_task', NEW.instance_id || ' ' || NEW.repo_id || ' ' || NEW.source_tag,
      NEW.listed_status, '', 1)
    ON CONFLICT (list, owner, filter, shard) DO UPDATE SET amount = amount + 1;
END;

CREATE TRIGGER subscription_task_added AFTER INSERT ON subscription_task BEGIN
  INSERT INTO list_count (list, owner, filter, shard, amount) VALUES
    ('subscription_task', NEW.instance_id || ' ', '', '', 1),
    ('subscription_task', NEW.instance_id || ' ' || NEW.rule_id, '', '', 1)
    ON CONFLICT (list, owner, filter, shard) DO UPDATE SET amount = amount + 1;
END;
CREATE TRIGGER subscription_task_removed AFTER DELETE ON subscription_task BEGIN
  UPDATE list_count SET amount = amount - 1
    WHERE list = 'subscription_task' AND owner IN (OLD.instance_id || ' ', OLD.instance_id || ' ' || OLD.rule_id) AND filter = '';
  DELETE FROM list_count
    WHERE list = 'subscription_task' AND owner IN (OLD.instance_id || ' ', OLD.instance_id || ' ' || OLD.rule_id) AND filter = ''
    AND amount = 0;
END;

CREATE TRIGGER subscription_rule_added AFTER INSERT ON subscription_rule BEGIN
  INSERT INTO list_count (list, owner, filter, shard, amount) VALUES
    ('subscription_rule', NEW.instance_id, '', '', 1)
    ON CONFLICT (list, owner, filter, shard) DO UPDATE SET amount = amount + 1;
END;
CREATE TRIGGER subscription_rule_removed AFTER DELETE ON subscription_rule BEGIN
  UPDATE list_count SET amount = amount - 1
    WHERE list = 'subscription_rule' AND owner = OLD.instance_id AND filter = '';
  DELETE FROM list_count
    WHERE list = 'subscription_rule' AND owner = OLD.instance_id AND filter = ''
    AND amount = 0;
END;

CREATE TRIGGER subscription_result_added AFTER INSERT ON subscription_result BEGIN
  INSERT INTO list_count (list, owner, filter, shard, amount) VALUES
    ('subscription_result', NEW.task_id, '', '', 1)
    ON CONFLICT (list, owner, filter, shard) DO UPDATE SET amount = amount + 1;
END;
CREATE TRIGGER subscription_result_removed AFTER DELETE ON subscription_result BEGIN
  UPDATE list_count SET amount = amount - 1
    WHERE list = 'subscription_result' AND owner = OLD.task_id AND filter = '';
  DELETE FROM list_count
    WHERE list = 'subscription_result' AND owner = OLD.task_id AND filter = ''
    AND amount = 0;
END;

CREATE TRIGGER task_added AFTER INSERT ON task BEGIN
  INSERT INTO list_count (list, owner, filter, shard, amount) VALUES
    ('task', NEW.queue, NEW.kind, '', 1)
    ON CONFLICT (list, owner, filter, shard) DO UPDATE SET amount = amount + 1;
END;
CREATE TRIGGER task_removed AFTER DELETE ON task BEGIN
  UPDATE list_count SET amount = amount - 1
    WHERE list = 'task' AND owner = OLD.queue AND filter = OLD.kind;
  DELETE FROM list_count
    WHERE list = 'task' AND owner = OLD.queue AND filter = OLD.kind
    AND amount = 0;
END;

CREATE TRIGGER namespace_added AFTER INSERT ON namespace BEGIN
  INSERT INTO list_count (list, owner, filter, shard, amount) VALUES
    ('namespace', NEW.instance_id, NEW.status, '', 1)
    ON CONFLICT (list, owner, filter, shard) DO UPDATE SET amount = amount + 1;
END;
CREATE TRIGGER namespace_removed AFTER DELETE ON namespace BEGIN
  UPDATE list_count SET amount = amount - 1
    WHERE list = 'namespace' AND owner = OLD.instance_id AND filter = OLD.status;
  DELETE FROM list_count
    WHERE list = 'namespace' AND owner = OLD.instance_id AND filter = OLD.status
    AND amount = 0;
END;
CREATE TRIGGER namespace_changed AFTER UPDATE OF status ON namespace
WHEN OLD.status <> NEW.status BEGIN
  UPDATE list_count SET amount = amount - 1
    WHERE list = 'namespace' AND owner = OLD.instance_id AND filter = OLD.status;
  DELETE FROM list_count
    WHERE list = 'namespace' AND owner = OLD.instance_id AND filter = OLD.status
    AND amount = 0;
  INSERT INTO list_count (list, owner, filter, shard, amount) VALUES
    ('namespace', NEW.instance_id, NEW.status, '', 1)
    ON CONFLICT (list, owner, filter, shard) DO UPDATE SET amount = amount + 1;
END;

CREATE TRIGGER repository_added AFTER INSERT ON repository BEGIN
  INSERT INTO list_count (list, owner, filter, shard, amount) VALUES
    ('repository', NEW.instance_id || ' ', NEW.status, '', 1),
    ('repository', NEW.instance_id || ' ' || NEW.namespace_name, NEW.status, '', 1)
    ON CONFLICT (list, owner, filter, shard) DO UPDATE SET amount = amount + 1;
END;
CREATE TRIGGER repository_removed AFTER DELETE ON repository BEGIN
  UPDATE list_count SET amount = amount - 1
    WHERE list = 'repository' AND owner IN (OLD.instance_id || ' ', OLD.instance_id || ' ' || OLD.namespace_name) AND filter = OLD.status;
  DELETE FROM list_count
    WHERE list = 'repository' AND owner IN (OLD.instance_id || ' ', OLD.instance_id || ' ' || OLD.namespace_name) AND filter = OLD.status
    AND amount = 0;
END;
CREATE TRIGGER repository_changed AFTER UPDATE OF status ON repository
WHEN OLD.status <> NEW.status BEGIN
  UPDATE list_count SET amount = amount - 1
    WHERE list = 'repository' AND owner IN (OLD.instance_id || ' ', OLD.instance_id || ' ' || OLD.namespace_name) AND filter = OLD.status;
  DELETE FROM list_count
    WHERE list = 'repository' AND owner IN (OLD.instance_id || ' ', OLD.instance_id || ' ' || OLD.namespace_name) AND filter = OLD.status
    AND amount = 0;
  INSERT INTO list_count (list, owner, filter, shard, amount) VALUES
    ('repository', NEW.instance_id || ' ', NEW.status, '', 1),
    ('repository', NEW.instance_id || ' ' || NEW.namespace_name, NEW.status, '', 1)
    ON CONFLICT (list, owner, filter, shard) DO UPDATE SET amount = amount + 1;
END;

CREATE TRIGGER tag_added AFTER INSERT ON tag BEGIN
  INSERT INTO list_count (list, owner, filter, shard, amount) VALUES
    ('tag', NEW.repo_id, '', '', 1)
    ON CONFLICT (list, owner, filter, shard) DO UPDATE SET amount = amount + 1;
END;
CREATE TRIGGER tag_removed AFTER DELETE ON tag BEGIN
  UPDATE list_count SET amount = amount - 1
    WHERE list = 'tag' AND owner = OLD.repo_id AND filter = '';
  DELETE FROM list_count
    WHERE list = 'tag' AND owner = OLD.repo_id AND filter = ''
    AND amount = 0;
END;

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
