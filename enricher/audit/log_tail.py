"""New SECCOMP events of auditd's log: follows it, reads its lines, leaves out what was taken before."""

import logging
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from enricher.audit.checkpoint import Checkpoint
from enricher.audit.follower import Follower
from enricher.audit.log_lines import LogParser
from enricher.audit.serials import Serials
from enricher.clock import COARSE_MS
from enricher.events import SeccompEvent

STEPS: Final = 16
"""Steps of one round, 2 MiB together: a backlog never keeps the loop from its other work for more than milliseconds."""
MOST: Final = 512
"""No further step once there are so many events: to join them costs more than to read them."""

_UNREADY: Final = 30.0
"""How long to wait, in seconds, until the containers to record are known; then the log is read anyway."""
_CLOCK_SLACK_MS: Final = 2_000

log = logging.getLogger(__name__)


class MaybeWritten(Struct, frozen=True):
    """A time of which some events are in the trail already, and it is not known which: none is written again.

    It lies between a checkpoint and the death of its enricher, mostly less than a second. Events from outside of it
    pass, also if the clock was set back: serials, not times, decide what is new.
    """

    since_ms: int = 0
    until_ms: int = -1

    def has(self, event: SeccompEvent) -> bool:
        """Whether an event is of that time."""
        return self.since_ms <= event.time <= self.until_ms


class Absence(Struct, frozen=True):
    """The time in which no enricher ran, after one that did."""

    serials: Serials
    """What that one had taken. Only the log's events are added, which come in order."""
    until_ms: int
    """When this one began, in milliseconds since the epoch."""


def maybe_written(checkpoint: Checkpoint, written_ms: int) -> MaybeWritten:
    """That time, after an enricher that was killed.

    Args:
        checkpoint: Its last one.
        written_ms: When it last wrote to the trail.

    """
    if checkpoint.clean:
        return MaybeWritten()
    return MaybeWritten(checkpoint.at - _CLOCK_SLACK_MS, written_ms + COARSE_MS)


class LogTail:
    """Reads on in a log.

    Args:
        follower: Where from.
        serials: What was taken, by whatever way.
        is_ours: Whether `node=NAME` is this node.
        maybe_written: Events of this time are left out.
        ready: Whether the containers to record are known by now; nothing is read before.
        absence: Where events are read that came while no enricher ran: how many these were has no bound, and the first
            one that comes by another way moves `serials` beyond them.

    """

    def __init__(
        self,
        follower: Follower,
        serials: Serials,
        is_ours: Callable[[str], bool],
        maybe_written: MaybeWritten,
        ready: Callable[[], bool],
        absence: Absence | None = None,
    ) -> None:
        self.follower = follower
        self._serials, self._maybe_written, self._ready = serials, maybe_written, ready
        self._absence = absence
        self._ready_at = time.monotonic() + _UNREADY
        self._parser = LogParser(is_ours)
        self._wrong = ""

    @property
    def behind(self) -> bool:
        """Whether there is more to be read at once."""
        return self.follower.behind

    @property
    def waiting(self) -> bool:
        """Whether nothing is read yet."""
        if self._ready_at and (self._ready() or time.monotonic() >= self._ready_at):
            self._ready_at = 0.0
        return self._ready_at > 0

    @property
    def unparsable(self) -> int:
        """Lines that were, or may have been, SECCOMP events and could not be read."""
        return self._parser.unparsable + self.follower.cut + self.follower.overlong

    def read(self) -> list[SeccompEvent]:
        """New events. A log that cannot be read is logged once, and tried again."""
        found: list[SeccompEvent] = []
        if self.waiting:
            return found
        try:
            for _ in range(STEPS):
                found.extend(filter(self._is_new, self._parser.events(self.follower.lines())))
                if not self.behind or len(found) >= MOST:
                    break
            self._wrong = ""
        except OSError as error:
            self.follower.behind = False
            if self._wrong != str(error):
                self._wrong = str(error)
                log.error("auditd's log cannot be read, trying again: %s", error)
        return found

    def close(self) -> None:
        """Let go of the file."""
        self.follower.close()

    def _is_new(self, event: SeccompEvent) -> bool:
        absence, serial = self._absence, event.serial
        if absence and event.time < absence.until_ms:
            is_first = absence.serials.take(serial) and (self._serials.take(serial) or self._serials.is_behind(serial))
        else:
            is_first = self._serials.take(serial)
        return is_first and not self._maybe_written.has(event)
