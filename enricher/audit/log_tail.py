"""New SECCOMP records of auditd's log: follows it, reads its lines, leaves out what was taken before."""

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
from enricher.events import Seccomp

STEPS: Final = 16
"""Steps of one round, 2 MiB together: a backlog never keeps the loop from its other work for more than milliseconds."""
MOST: Final = 512
"""No further step once there are so many records: what is made of them costs more than to read them."""

_UNREADY: Final = 30.0
"""How long a log is left alone at most, in seconds, while it is not known what is recorded."""
_CLOCK_SLACK_MS: Final = 2_000

log = logging.getLogger(__name__)


class Told(Struct, frozen=True):
    """A time of which some records are in the trail already and nobody knows which: none of them is told again.

    It lies between a checkpoint and the death of its enricher, mostly less than a second. Records from outside of it
    pass, also if the clock was set back: serials, not times, tell what is new.
    """

    since_ms: int = 0
    until_ms: int = -1

    def has(self, record: Seccomp) -> bool:
        """Whether a record is of that time."""
        return self.since_ms <= record.time <= self.until_ms


def told_after(checkpoint: Checkpoint, written_ms: int) -> Told:
    """That time, after an enricher that was killed.

    Args:
        checkpoint: Its last one.
        written_ms: When it last wrote to the trail.

    """
    if checkpoint.clean:
        return Told()
    return Told(checkpoint.at - _CLOCK_SLACK_MS, written_ms + COARSE_MS)


class LogTail:
    """Reads on in a log.

    Args:
        follower: Where from.
        serials: What was taken, by whatever way.
        is_ours: Whether `node=NAME` is this node.
        told: What is not to be told again.
        ready: Whether it is known by now whose containers are recorded; nothing is read before.

    """

    def __init__(
        self,
        follower: Follower,
        serials: Serials,
        is_ours: Callable[[str], bool],
        told: Told,
        ready: Callable[[], bool],
    ) -> None:
        self.follower = follower
        self._serials, self._told, self._ready = serials, told, ready
        self._impatient_at = time.monotonic() + _UNREADY
        self._parser = LogParser(is_ours)
        self._wrong = ""

    @property
    def behind(self) -> bool:
        """Whether there is more to be read at once."""
        return self.follower.behind

    @property
    def waiting(self) -> bool:
        """Whether nothing is read yet."""
        if self._impatient_at and (self._ready() or time.monotonic() >= self._impatient_at):
            self._impatient_at = 0.0
        return self._impatient_at > 0

    @property
    def unparsable(self) -> int:
        """Lines that were, or may have been, SECCOMP records and could not be read."""
        return self._parser.unparsable + self.follower.cut + self.follower.overlong

    def read(self) -> list[Seccomp]:
        """What is new. A log that cannot be read is said once, and tried again."""
        found: list[Seccomp] = []
        if self.waiting:
            return found
        try:
            for _ in range(STEPS):
                found.extend(filter(self._is_new, self._parser.records(self.follower.lines())))
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

    def _is_new(self, record: Seccomp) -> bool:
        return self._serials.take(record.serial) and not self._told.has(record)
