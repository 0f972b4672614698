"""Loss accounting: everything that was read is somewhere.

    read + made = written + merged + filtered + suppressed + lost + held

holds at every moment, per cause. `held` is what is neither written nor given up yet.
"""

from collections import Counter
from typing import Final

LOST: Final = ("storage", "throttled", "undecided", "vanished")
"""Why events that were read are given up."""


class Tally:
    """Counts events by what became of them, each under a cause or kind."""

    def __init__(self) -> None:
        self.read: Counter[str] = Counter()
        """What the kernel gave, by source."""
        self.made: Counter[str] = Counter()
        """Records of our own (session, gap), by kind."""
        self.written: Counter[str] = Counter()
        """Lines in the trail, by kind."""
        self.merged: Counter[str] = Counter()
        """SECCOMP records that became part of a sensor event's line."""
        self.filtered: Counter[str] = Counter()
        """Events that are not for the trail, by reason."""
        self.suppressed: Counter[str] = Counter()
        """Repetitions that were only counted."""
        self.lost: Counter[str] = Counter()
        """Events that were read and given up, by cause."""

    def difference(self, held: int) -> int:
        """What the equation misses; 0 unless there is a bug."""
        came = self.read.total() + self.made.total()
        went = (self.written, self.merged, self.filtered, self.suppressed, self.lost)
        return came - held - sum(counter.total() for counter in went)
