"""Who attached to what: `kubectl attach` starts no process: it gives a user control of one that runs already.

What comes of it descends from the container's own init, like all else there. So the trail marks from when on that may
be that user's doing, by the start of a session whose entry is the init. The node cannot see when it ends.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

from enricher.containers.containers import Container
from enricher.correlate.request_index import aims_at, asked_ms, is_of_earlier_pod
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
    """The attaches that are to be reported. A mirror's thread feeds them through a queue to the agent's.

    Args:
        since: RFC 3339, UTC: those that were admitted before are not reported.

    """

    def __init__(self, since: str) -> None:
        self._since = since
        self._fresh: deque[AuditSession] = deque(maxlen=_MOST)
        """What crosses the threads: each takes its own end, which a deque allows without a lock."""
        self._looked_for: list[tuple[AuditSession, float]] = []

    def changed(self, old: AuditSession | None, new: AuditSession | None) -> None:
        """Take over a change of the mirror of requests."""
        if old is None and new and new.spec.verb == "attach" and new.spec.time >= self._since:
            self._fresh.append(new)

    def found(self, inits: Callable[[], Inits], now: float) -> list[Attach]:
        """Those whose container is known by now, each once; `now` is in seconds."""
        while self._fresh:
            self._looked_for.append((self._fresh.popleft(), now + _LOOK_FOR))
        if not self._looked_for:
            return []
        looked_for, self._looked_for = self._looked_for, []
        found: list[Attach] = []
        alive = inits().items()
        for audit, until in looked_for:
            meant = [(init, each) for init, each in alive if _may_be_meant(audit, each)]
            if len(meant) == 1:
                found.append(Attach(audit, *meant[0]))
            elif now < until:
                self._looked_for.append((audit, until))
        return found


def _may_be_meant(audit: AuditSession, container: Container) -> bool:
    return aims_at(audit, container) and not is_of_earlier_pod(audit, container)
