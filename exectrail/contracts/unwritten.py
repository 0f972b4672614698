"""The list of requests whose AuditSessions were not written: a ConfigMap with a key for each replica of the webhook.

A key's value is one `UnwrittenList` as JSON; the key is the replica's name.
"""

from msgspec import Struct


class Unwritten(Struct, frozen=True):
    """A request without an AuditSession."""

    uid: str
    """That the AuditSession would have had for its name: it is in the API server's audit log."""
    user: str
    namespace: str
    pod: str
    """Empty where the request names none."""
    verb: str
    time: str
    """When it was admitted: RFC 3339, UTC."""
    cause: str
    """As the webhook counts it (`exectrail_webhook_sessions_dropped_total`)."""


class UnwrittenList(Struct, frozen=True, omit_defaults=True):
    """What one replica could not write."""

    updated: str = ""
    """RFC 3339, UTC."""
    omitted: int = 0
    """How many older ones are not listed any more."""
    sessions: list[Unwritten] = []
    """The oldest first."""
