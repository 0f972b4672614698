"""Entries without a tag whose request did not show within the hold time: found by it once it shows.

An own process goes first: until none can come any more, a request is left to it. So a process that ran the same command
a moment before a request does not get its user's name, because the request took long to show.
"""

from collections import defaultdict

from msgspec import Struct

from enricher.correlate.pending_event import Owner
from enricher.correlate.process_tree import Entry
from enricher.correlate.sessions import Sessions
from enricher.correlate.unmatched import Unmatched
from enricher.events import ExitEvent

_OWN_FIRST = 35.0
"""How long after an entry is looked for its request, in seconds: processes of one that was made a moment later can
come for half a minute (`enricher.correlate.request_index`)."""
_EVERY = 5.0
_PATIENCE = 600.0
"""How long a request may be late, in seconds, as in `enricher.emit.late_requests`."""
_MOST = 1_000


class Found(Struct, frozen=True):
    """An entry of which more is known by now."""

    owner: Owner
    entry: Entry
    by: Unmatched
    meant: list[str]
    """The UIDs of the requests that may have made it."""
    alone: bool
    """Whether it is one request, and no other entry can be meant by it."""
    time: int
    """When it came in, in nanoseconds since boot."""
    end: ExitEvent | None
    """How it ended, where it did."""


class _Waiting(Struct):
    owner: Owner
    entry: Entry
    by: Unmatched
    time: int
    since: float
    end: ExitEvent | None = None


class LateMatches:
    """Keeps entries that were written without a request."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._waiting: dict[int, _Waiting] = {}
        """By the identity of the entry, which is kept alive here."""
        self._next = 0.0

    def add(self, owner: Owner, entry: Entry, by: Unmatched, time: int, now: float) -> None:
        """Remember one; where too many wait, the oldest stays as it is for good."""
        self._waiting[id(entry)] = _Waiting(owner, entry, by, time, now)
        if len(self._waiting) > _MOST:
            del self._waiting[next(iter(self._waiting))]

    def ended(self, entry: Entry, end: ExitEvent) -> None:
        """An entry's first process has ended."""
        if waiting := self._waiting.get(id(entry)):
            waiting.end = end

    def found(self, now: float) -> list[Found]:
        """Those of which more is known by now, each once; `now` in seconds."""
        if not self._waiting or now < self._next:
            return []
        self._next = now + _EVERY
        meant: dict[int, list[str]] = {}
        entries: defaultdict[str, int] = defaultdict(int)
        for key, each in list(self._waiting.items()):
            if each.since + _PATIENCE <= now:
                del self._waiting[key]
            elif each.since + _OWN_FIRST <= now and (uids := each.by.meant(self._sessions)):
                meant[key] = uids
                for uid in uids:
                    entries[uid] += 1
        found: list[Found] = []
        for key, uids in meant.items():
            each = self._waiting.pop(key)
            # Of several entries that one request can have made, none is chosen either.
            alone = len(uids) == 1 and entries[uids[0]] == 1
            found.append(Found(each.owner, each.entry, each.by, uids, alone, each.time, each.end))
        return found
