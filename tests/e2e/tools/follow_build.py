#!/usr/bin/env python3
"""Follows a build task with the current SDK from whatever it is now to its end.

Prints `ready`, reads `TASK REPOSITORY`, and prints one JSON document: the statuses in the order seen,
the task as it ended, its log paged by 3, and the tags of the repository paged by 2.
"""

import json
import time

import acr

using = acr.client()
print("ready", flush=True)
task, repository = input().split()
seen, deadline = [], time.monotonic() + 300
while not seen or seen[-1] not in ("SUCCESS", "FAILED"):
    last = acr.build_task(task, using)
    if not seen or seen[-1] != last["TaskStatus"]:
        seen.append(last["TaskStatus"])
    assert time.monotonic() < deadline, last
    time.sleep(0.02)
lines, total = acr.build_log(task, 3)
print(json.dumps({"seen": seen, "task": last, "log": lines, "log_total": total,
                  "tags": acr.tags(repository, 2), "now": time.time()}))
