#!/usr/bin/env python3
"""Sends requests that have to be refused, through both SDKs, and prints what each raised.

One JSON object: name -> [code, HTTP status or null].
"""

import json
import os
from unittest import mock

from alibabacloud_tea_openapi.utils import Utils
from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.utils import parameter_helper
from aliyunsdkcr.request.v20181201.GetInstanceRequest import GetInstanceRequest

import acr

outcomes = {}


def new(name, using=None, instance=None):
    """One request of the current SDK."""
    request = acr.models.GetInstanceRequest(instance_id=instance or acr.INSTANCE)
    try:
        body = (using or acr.client()).get_instance(request).body.to_map()
        outcomes[name] = [body["Code"], 200]
    except Exception as refused:  # the SDK has several classes of its own, all with a code
        outcomes[name] = [getattr(refused, "code", repr(refused)),
                          getattr(refused, "status_code", None) or getattr(refused, "statusCode", None)]


def old(name, using=None, instance=None):
    """One request of the previous SDK."""
    request = GetInstanceRequest()
    request.set_InstanceId(instance or acr.INSTANCE)
    request.set_endpoint(os.environ["ENDPOINT"])
    try:
        body = json.loads((using or acr.old_client()).do_action_with_exception(request))
        outcomes[name] = [body["Code"], 200]
    except ServerException as refused:
        outcomes[name] = [refused.get_error_code(), refused.get_http_status()]
    except Exception as refused:  # raised by the SDK itself, when it compares what was signed
        outcomes[name] = [getattr(refused, "error_code", repr(refused)), None]


new("new accepted")
old("old accepted")
new("new unknown key", acr.client(access_key_id="LTAIunknownunknownunknow"))
old("old unknown key", acr.old_client(ak="LTAIunknownunknownunknow"))
new("new wrong secret", acr.client(access_key_secret="wrong"))
old("old wrong secret", acr.old_client(secret="wrong"))
new("new foreign instance", instance="cri-aaaaaaaaaaaaaaaa")
old("old foreign instance", instance="cri-aaaaaaaaaaaaaaaa")

# Half an hour and more in the past: the SDKs take the time from one function each.
with mock.patch.object(Utils, "get_timestamp", return_value="2020-01-01T00:00:00Z"):
    new("new expired date")
with mock.patch.object(parameter_helper, "get_iso_8061_date", return_value="2020-01-01T00:00:00Z"):
    old("old expired date")

# The same nonce twice: the first is taken, the second refused.
for module, function, call in (
        (Utils, "get_nonce", new), (parameter_helper, "get_uuid", old)):
    name = call.__name__
    with mock.patch.object(module, function, return_value=os.urandom(16).hex()):
        call(f"{name} first use of a nonce")
        call(f"{name} replayed nonce")
print(json.dumps(outcomes))
