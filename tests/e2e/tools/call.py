#!/usr/bin/env python3
"""Calls operations through the current SDK, one after the other.

The argument is a JSON list of [operation, parameters]; the instance is added. Prints the list of
bodies; of a call that the SDK raised an error for, `{"raised": code}`.
"""

import json
import re
import sys

import acr

using = acr.client()
bodies = []
for operation, parameters in json.loads(sys.argv[1]):
    request = getattr(acr.models, operation + "Request")()
    request.from_map({"InstanceId": acr.INSTANCE, **parameters})
    method = getattr(using, re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower())
    try:
        bodies.append(method(request).body.to_map())
    except Exception as refused:  # the SDK has several classes of its own, all with a code
        bodies.append({"raised": getattr(refused, "code", repr(refused))})
json.dump(bodies, sys.stdout)
