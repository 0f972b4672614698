"""Which failures to write an AuditSession pass, so that another try is worth it."""

from exectrail.k8s.client import ApiError


def is_passing(error: ApiError) -> bool:
    """Whether it is the server's state and not the object: away, overloaded, or a token just being renewed."""
    return error.status in {0, 401, 429} or error.status >= 500
