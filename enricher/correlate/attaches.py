"""Who attached to what: `kubectl attach` starts no process: it gives a user control of one that runs already.

What comes of it descends from the container's own init, like all else there. So the trail marks from when on that may
be that user's doing, by the start of a session whose entry is the init. The node cannot see when it ends.
"""

from collections.abc import Mapping
from typing import NamedTuple

from enricher.containers.containers import Container
from enricher.correlate.request_index import aims_at, asked_ms
from enricher.events import Process
from exectrail.contracts.session import AuditSession

_LOOK_FOR = 10.0
"""How long its container is looked for, in seconds: `kubectl run -i` attaches as soon as there is one."""
_MOST = 1_000

Inits = Mapping[Process, Container]
"""The containers' own inits that are alive."""


class Attach(NamedTuple):
    """An attach whose container is found."""

    audit: AuditSession
    init: Process
    container: Container

    @property
    def admitted_ms(self) -> int:
        """When, in milliseconds since the epoch."""
        return round(asked_ms(self.audit))


class Attached:
    """The attaches that are to be told of. Fed from the mirror's thread, read from the pipeline's.

    Args:
        since: RFC 3339, UTC: those that were admitted before are not told of.

    """

    def __init__(self, since: str) -> None:
        self._since = since
        self._fresh: list[AuditSession] = []
        self._looked_for: list[tuple[AuditSession, float]] = []

    def changed(self, old: AuditSession | None, new: AuditSession | None) -> None:
        """Take over a change of the mirror of requests."""
        if old is None and new and new.spec.verb == "attach" and new.spec.time >= self._since:
            self._fresh = [*self._fresh, new][-_MOST:]

    @property
    def waiting(self) -> bool:
        """Whether there is any to look for."""
        return bool(self._fresh or self._looked_for)

    def found(self, inits: Inits, now: float) -> list[Attach]:
        """Those whose container is known by now, each once; `now` is in seconds."""
        fresh, self._fresh = self._fresh, []
        looked_for = [*self._looked_for, *((audit, now + _LOOK_FOR) for audit in fresh)]
        self._looked_for = []
        told: list[Attach] = []
        for audit, until in looked_for:
            meant = [(init, each) for init, each in inits.items() if aims_at(audit.spec.target, each.resource)]
            if len(meant) == 1:
                told.append(Attach(audit, *meant[0]))
            elif now < until:  # of several, the client has left the choice to the kubelet: it is unknown which
                self._looked_for.append((audit, until))
        return told
