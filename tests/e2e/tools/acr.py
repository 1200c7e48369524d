"""The official SDKs, pointed at the server that the environment names."""

import os

from alibabacloud_cr20181201 import models
from alibabacloud_cr20181201.client import Client
from alibabacloud_tea_openapi.utils_models import Config

INSTANCE = os.environ["INSTANCE_ID"]


def client(**changes):
    """A client of the current SDK (signature ACS3-HMAC-SHA256)."""
    settings = {
        "access_key_id": os.environ["ACCESS_KEY_ID"],
        "access_key_secret": os.environ["ACCESS_KEY_SECRET"],
        "endpoint": os.environ["ENDPOINT"],
        "protocol": "http",
        "region_id": "local",
    }
    settings.update(changes)
    return Client(Config(**settings))


def old_client(**changes):
    """A client of the previous SDK (RPC signature version 1)."""
    from aliyunsdkcore.client import AcsClient

    settings = {"ak": os.environ["ACCESS_KEY_ID"], "secret": os.environ["ACCESS_KEY_SECRET"]}
    settings.update(changes)
    return AcsClient(region_id="local", **settings)


def old_request(action, **parameters):
    """Any operation through the previous SDK, which has classes for the older ones only."""
    from aliyunsdkcore.request import CommonRequest

    request = CommonRequest(product="cr", version="2018-12-01", action_name=action)
    request.set_domain(os.environ["ENDPOINT"])
    request.set_protocol_type("http")
    request.set_method("GET")
    for name, value in parameters.items():
        request.add_query_param(name, value)
    return request


def build_task(task, using=None):
    request = models.GetArtifactBuildTaskRequest(instance_id=INSTANCE, build_task_id=task)
    return (using or client()).get_artifact_build_task(request).body.to_map()


def build_log(task, page_size):
    """All lines of a task's log, page by page, and the total that the pages name."""
    using, lines, total, page = client(), [], None, 1
    while total is None or len(lines) < total:
        request = models.ListArtifactBuildTaskLogRequest(
            instance_id=INSTANCE, build_task_id=task, page=page, page_size=page_size)
        body = using.list_artifact_build_task_log(request).body.to_map()
        rows, total, page = body.get("BuildTaskLogs") or [], body["TotalCount"], page + 1
        if not rows:
            break
        lines.extend(rows)
    return lines, total


def tags(repository, page_size):
    """All rows of ListRepoTag, page by page."""
    using, rows, total, page = client(), [], None, 1
    while total is None or len(rows) < total:
        request = models.ListRepoTagRequest(
            instance_id=INSTANCE, repo_id=repository, page_no=page, page_size=page_size)
        body = using.list_repo_tag(request).body.to_map()
        found, total, page = body.get("Images") or [], int(body["TotalCount"]), page + 1
        if not found:
            break
        rows.extend(found)
    return rows
