"""Sessions whose request did not show in time: remembered, so that a later record corrects what was written."""

from msgspec import Struct

from enricher.correlate.pending_event import Owner
from enricher.correlate.sessions import Session, Sessions
from enricher.events import Process
from exectrail.contracts.record import Record

_PATIENCE = 600.0
"""How long a request may be late, in seconds: an API server that is away comes back."""
_MOST = 10_000


class _Waiting(Struct):
    session: Session
    owner: Owner
    until: float
    end: Record | None = None
    """How it ended, where it did."""


class LateRequests:
    """Keeps sessions that were written as `unconfirmed`."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._waiting: dict[tuple[str, Process], _Waiting] = {}
        """By UID and entry: several may come with the same UID before its request shows."""

    def add(self, session: Session, owner: Owner, now: float) -> None:
        """Remember one; where too many wait, the oldest stays unconfirmed for good."""
        self._waiting[session.request_uid, session.entry] = _Waiting(session, owner, now + _PATIENCE)
        if len(self._waiting) > _MOST:
            del self._waiting[next(iter(self._waiting))]

    def ended(self, session: Session, end: Record) -> None:
        """One has ended; that is reported of its request only once that has shown."""
        waiting = self._waiting.get((session.request_uid, session.entry))
        if waiting and waiting.session is session:
            waiting.end = end

    def settled(self, now: float) -> list[tuple[Session, Owner, Record | None]]:
        """Those of which more is known by now, and how they ended."""
        done = [key for key, each in self._waiting.items() if self._sessions.settle(each.session)]
        late = [key for key, each in self._waiting.items() if each.until <= now and key not in done]
        found = [self._waiting.pop(key) for key in done]
        for key in late:
            del self._waiting[key]
        return [(each.session, each.owner, each.end) for each in found]
