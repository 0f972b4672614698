"""The audit source `netlink`, whose gaps are filled from auditd's log where there is one.

A gap is what the kernel dropped because the receive buffer was full, or the time between two enrichers. In both the
log is read from a place that was noted before, until a moment after; serials show which events had not come.
"""

import logging
import selectors
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from enricher.audit.follower import Follower, Position, end_of
from enricher.audit.log_tail import Absence, LogTail, MaybeWritten
from enricher.audit.netlink_socket import AuditSource
from enricher.audit.progress import SourceState
from enricher.events import SeccompEvent
from enricher.netlink import SocketCounters

LINGER: Final = 2.0
"""How long the log is read after a gap, in seconds: auditd writes what it has within a quarter of one."""
_POLL: Final = 0.1

log = logging.getLogger(__name__)


class NetlinkSource:
    """SECCOMP events from the kernel, and from auditd's log those that were lost on that way.

    Args:
        audit: The socket.
        state: Remembers which events were taken.
        path: auditd's log; None to read none.
        is_ours: Whether `node=NAME` in it is this node.
        ready: Whether the containers to record are known by now.

    """

    name = "netlink"

    def __init__(
        self,
        audit: AuditSource,
        state: SourceState,
        path: Path | None,
        is_ours: Callable[[str], bool],
        ready: Callable[[], bool],
    ) -> None:
        self._audit, self._state, self._path = audit, state, path
        self._is_ours, self._ready = is_ours, ready
        self._joined = time.time_ns() // 1_000_000
        self._overruns = audit.overruns
        self._dropped = audit.dropped()
        """As of before the last read: each of these has shown itself as an overrun."""
        self._drops_settled = self._lost = self._recovered = 0
        self._unparsable = 0
        self._tail: LogTail | None = None
        self._until = 0.0
        self._noted: Position | None = None
        """The log's end two seconds to one second ago: all before it had come by netlink, or was dropped long since."""
        self._next_noted: Position | None = None
        if state.before and state.before.log:
            absence = Absence(state.serials_before(), self._joined)
            self._begin(state.before.log, time.monotonic(), state.maybe_written, absence)

    @property
    def behind(self) -> bool:
        """Whether more may wait, in the socket or in the log."""
        return self._audit.behind or (self._tail is not None and (self._tail.behind or self._tail.waiting))

    def register(self, selector: selectors.BaseSelector) -> None:
        """Wake the loop when events come."""
        selector.register(self._audit, selectors.EVENT_READ)

    def poll_timeout(self) -> float:
        """For ever, unless a gap is being filled."""
        if self._tail is None:
            return float("inf")
        return 0.0 if self._tail.behind else _POLL

    def read(self, now: float) -> list[SeccompEvent]:
        """The events that the kernel sent, then those that it could not send and auditd wrote."""
        take, events = self._state.serials.take, list[SeccompEvent]()
        self._dropped = self._audit.dropped()
        for event in self._audit.read():
            if take(event.serial):
                events.append(event)
            elif self._tail:
                self._recovered -= event.time >= self._joined  # the log had it first: it was not dropped
        if self._audit.overruns != self._overruns:
            self._overruns = self._audit.overruns
            self._open_gap(now)
        return [*events, *self._fill(self._tail, now)] if self._tail else events

    def lost(self) -> dict[str, int]:
        """Drops count only once their gap is closed: the log may have them."""
        dropped = 0 if self._tail else self._dropped - self._drops_settled
        unparsable = self._audit.unparsable + self._unparsable
        return {"netlink-overrun": self._lost + dropped, "unparsable": unparsable}

    def socket(self) -> SocketCounters:
        """Counts of the socket."""
        return SocketCounters(self._audit.forged, self._audit.overruns)

    def gaps(self) -> list[str]:
        """None of its own: a restart is reported as such, drops are counted."""
        return []

    def keep(self) -> None:
        """Note where the log ends, and what was taken."""
        if self._tail is None:
            self._noted, self._next_noted = self._next_noted, end_of(self._path) if self._path else None
        self._state.keep(self._noted)

    def close(self, *, clean: bool) -> None:
        """Leave the group, and save once more what was taken."""
        self._state.keep(self._noted, clean=clean)
        if self._tail:
            self._tail.close()
        self._audit.close()

    def _open_gap(self, now: float) -> None:
        if self._tail:
            self._until = now + LINGER
        elif self._noted:
            self._begin(self._noted, now, MaybeWritten())

    def _begin(self, place: Position, now: float, maybe_written: MaybeWritten, absence: Absence | None = None) -> None:
        try:
            follower = Follower.resume(self._path, place) if self._path else None
        except OSError as error:
            log.error("missed events cannot be looked for in auditd's log: %s", error)
            return
        if follower:
            self._tail = LogTail(follower, self._state.serials, self._is_ours, maybe_written, self._ready, absence)
            self._until = now + LINGER
            self._noted = place
            log.info("looking for missed events in %s", self._path)

    def _fill(self, tail: LogTail, now: float) -> list[SeccompEvent]:
        if tail.behind or tail.waiting:
            self._until = max(self._until, now + LINGER)
        found = tail.read()
        self._recovered += sum(event.time >= self._joined for event in found)
        if now > self._until and not self.behind:  # what waits in the socket may be what the log had first
            self._close_gap(tail)
        return found

    def _close_gap(self, tail: LogTail) -> None:
        dropped = self._dropped - self._drops_settled
        self._lost += max(0, dropped - self._recovered)
        log.info("of %d dropped events, %d were in auditd's log", dropped, self._recovered)
        self._drops_settled, self._recovered = self._dropped, 0
        self._unparsable += tail.unparsable
        self._noted = self._next_noted = tail.follower.position()
        tail.close()
        self._tail = None
