"""Which requests are over: no process can come of them any more, and they need not be kept.

That they were there is remembered: a process with the UID of one is `forged`, and not `unconfirmed`. A cluster has
10,000 of them, and whole each takes some 3 KiB on each node.
"""

from enricher.correlate.request_index import asked_ms
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.session import AuditSession, SessionSpec, SessionStatus, Target, User

_NOTHING = SessionSpec(User(""), "portforward", "", Target("", ""), "1970-01-01T00:00:00Z")
EXPIRED = AuditSession(ObjectMeta(), _NOTHING, SessionStatus("Closed"))
"""Stands in for each request that is over."""

_SETTLED_MS = 90_000
"""Within this the processes of an exec are settled: 30 s until they start, 30 s on hold until the API is read."""
_LATE_MS = 3_600_000
"""How late an attach may show and is still reported (`enricher.correlate.attaches`)."""
_AWAY_MS = 24 * 3_600_000
"""How long an enricher may be away and still find whose the execs are that came in meanwhile."""


def is_over(audit: AuditSession, node: str, wall_ms: float) -> bool:
    """Whether no process of this node can come of a request any more, at this time (milliseconds since the epoch)."""
    spec, status = audit.spec, audit.status
    age = wall_ms - asked_ms(audit)
    if spec.verb not in ("exec", "debug"):  # they start none, but an attach is reported
        return spec.verb != "attach" or age > _LATE_MS
    if status.phase != "Closed":
        return False
    if status.node not in (None, node):  # a pod stays where it is
        return True
    if age < _SETTLED_MS:  # its namespace may just have opted in
        return False
    if status.outcome in ("completed", "lost"):
        return True
    # The controller's word holds until a node knows better: an ephemeral container starts when its image is there, an
    # exec may have come in while no enricher ran; and of what is ambiguous the next process may come as well. But where
    # nothing was to be recorded, as of most of a cluster's execs, there is none that could be found.
    return spec.verb == "exec" and (not spec.recorded or age > _AWAY_MS)
