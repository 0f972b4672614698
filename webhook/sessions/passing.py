"""What a failure to write an AuditSession means: it is there already, another try is worth it, or neither."""

from exectrail.k8s.client import ApiError


def is_passing(error: ApiError) -> bool:
    """Whether it is the server's state and not the object: away, overloaded, full, or a token just being renewed."""
    # A ResourceQuota refuses by the same status as a policy, and says so in words (the API server's resourcequota).
    is_full = error.status == 403 and "exceeded quota" in str(error)
    # A change of the ResourceQuota beside this one: the API server gives up after a few tries, and stores nothing.
    is_overtaken = error.status == 409 and not is_there(error)
    return error.status in {0, 401, 429} or error.status >= 500 or is_full or is_overtaken


def is_there(error: ApiError) -> bool:
    """Whether an earlier try came through, only its answer did not. `Conflict` has the same status."""
    return error.status == 409 and error.reason == "AlreadyExists"
