"""What a refusal by the API server means: the object is there already, another try is worth it, or neither."""

import re

from exectrail.k8s.client import ApiError

_may_not = re.compile(r'User ".*" cannot \w+ resource "').search
"""How the API server's authorizer says it; policies use the same status and other words."""


def is_passing(error: ApiError) -> bool:
    """Whether it is the server's state and not the object, so that another try is worth it."""
    # Away or overloaded; or it does not take the token, which is just being renewed.
    if error.status in {0, 401, 429} or error.status >= 500:
        return True
    # A ResourceQuota was changed by others at that moment: the API server gives up after a few tries.
    if error.status == 409:
        return not is_there(error)
    # A ResourceQuota is full. Or rights are on their way: an API server that starts answers before it knows them, and
    # an upgrade may replace them.
    return error.status == 403 and ("exceeded quota" in str(error) or _may_not(str(error)) is not None)


def is_there(error: ApiError) -> bool:
    """Whether an earlier try came through, only its answer did not. `Conflict` has the same status."""
    return error.status == 409 and error.reason == "AlreadyExists"
