#!/usr/bin/env python3
"""Makes a subscription rule, runs it and follows its task, all with the current SDK.

    follow_subscription.py NAMESPACE REPOSITORY SOURCE_NAMESPACE SOURCE_REPOSITORY REGEXP COUNT

Prints one JSON document: the statuses in the order seen, the task as it ended, its rows paged by 2,
and the rule as it reads.
"""

import json
import sys
import time

import acr
from acr import INSTANCE, models

namespace, repository, source_namespace, source_repository, regexp, count = sys.argv[1:]
using = acr.client()
rule = using.create_artifact_subscription_rule(models.CreateArtifactSubscriptionRuleRequest(
    instance_id=INSTANCE, namespace_name=namespace, repo_name=repository, source_provider="QUAY",
    source_namespace_name=source_namespace, source_repo_name=source_repository, tag_regexp=regexp,
    tag_count=int(count), platform=["linux/amd64", "linux/arm64"], override=True, accelerate=False,
)).body.to_map()["RuleId"]
task = using.create_artifact_subscription_task(models.CreateArtifactSubscriptionTaskRequest(
    instance_id=INSTANCE, rule_id=rule)).body.to_map()["TaskId"]

seen, deadline = [], time.monotonic() + 120
while not seen or seen[-1] != "COMPLETED":
    last = using.get_artifact_subscription_task(models.GetArtifactSubscriptionTaskRequest(
        instance_id=INSTANCE, task_id=task)).body.to_map()
    if not seen or seen[-1] != last["TaskStatus"]:
        seen.append(last["TaskStatus"])
    assert time.monotonic() < deadline, last
    time.sleep(0.02)

rows, total, page = [], None, 1
while total is None or len(rows) < total:
    body = using.get_artifact_subscription_task_result(
        models.GetArtifactSubscriptionTaskResultRequest(
            instance_id=INSTANCE, task_id=task, page_no=page, page_size=2)).body.to_map()
    found, total, page = body.get("TaskResults") or [], body["TotalCount"], page + 1
    if not found:
        break
    rows.extend(found)
read = using.get_artifact_subscription_rule(models.GetArtifactSubscriptionRuleRequest(
    instance_id=INSTANCE, rule_id=rule)).body.to_map()
print(json.dumps({"seen": seen, "task": last, "rows": rows, "total": total, "rule": read}))
