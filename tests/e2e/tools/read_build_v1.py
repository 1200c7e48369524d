#!/usr/bin/env python3
"""Reads a build task and the tags of its repository with the previous SDK: TASK REPOSITORY."""

import json
import os
import sys

from aliyunsdkcr.request.v20181201.ListRepoTagRequest import ListRepoTagRequest

import acr

task, repository = sys.argv[1:]
using = acr.old_client()
read = acr.old_request("GetArtifactBuildTask", InstanceId=acr.INSTANCE, BuildTaskId=task)
tags = ListRepoTagRequest()
tags.set_InstanceId(acr.INSTANCE)
tags.set_RepoId(repository)
tags.set_PageSize(100)
tags.set_endpoint(os.environ["ENDPOINT"])
print(json.dumps({
    "task": json.loads(using.do_action_with_exception(read)),
    "tags": json.loads(using.do_action_with_exception(tags))["Images"],
}))
