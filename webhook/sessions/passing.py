"""Which failures to write an AuditSession pass, so that another try is worth it."""

from exectrail.k8s.client import ApiError


def is_passing(error: ApiError) -> bool:
    """Whether it is the server's state and not the object: away, overloaded, full, or a token just being renewed."""
    # A ResourceQuota refuses by the same status as a policy, and says so in words (the API server's resourcequota).
    is_full = error.status == 403 and "exceeded quota" in str(error)
    return error.status in {0, 401, 429} or error.status >= 500 or is_full
