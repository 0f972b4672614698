"""Time: from nanoseconds since boot, in which the kernel counts, to the wall-clock time stamps of records."""

import time

COARSE_MS = 12
"""How far a time stamp of the kernel's coarse clock may be behind, in milliseconds: of audit records, and of files.

That clock moves with the timer interrupt, every 4 ms (CONFIG_HZ=250) to 10 ms (100); 2 ms more are for rounding.
"""
CALL_SLACK_MS = 8
"""How much later than its exec or fork a SECCOMP event may be stamped, in milliseconds.

It is made before the call, so only the offset between the two clocks can be that wrong: two steps of the coarse clock
at CONFIG_HZ=250. With more, the next call of a quick process could be taken for this one.
"""
_NEAR_NS = 20_000
_MOST_TRIES = 10
START_SLACK_NS = 20_000_000
"""How much later than an audit time stamp the start of the same process may be, in nanoseconds.

One step of the coarse clock (10 ms with CONFIG_HZ=100) and one clock tick of /proc, which is how fine a start is.
"""


def boot_to_wall_ns() -> int:
    """Nanoseconds to add to CLOCK_BOOTTIME to get the time since the epoch; changes when the clock is set.

    On a busy node this process may lose the processor between two looks at a clock, for milliseconds. So the wall
    clock is read between two reads of the other; of several tries the one counts that took least.
    """
    tries = [_width_and_offset()]
    while tries[-1][0] > _NEAR_NS and len(tries) < _MOST_TRIES:
        tries.append(_width_and_offset())
    return min(tries)[1]


def _width_and_offset() -> tuple[int, int]:
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    wall = time.clock_gettime_ns(time.CLOCK_REALTIME)
    width = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - before
    return width, wall - before - width // 2


class Clock:
    """Converts boot time to wall-clock time; follows steps of the wall clock at each `adjust`."""

    def __init__(self) -> None:
        self._offset = 0
        self._second = self._wall_ms = -1
        self._prefix = self._stamp = ""
        self.adjust()

    def adjust(self) -> None:
        """Measure the offset between the two clocks anew."""
        self._offset = boot_to_wall_ns()

    def now_ns(self) -> int:
        """Now, in nanoseconds since boot."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def now_ms(self) -> int:
        """Now, in milliseconds since the epoch."""
        return self.wall_ms(self.now_ns())

    def wall_ms(self, boot_ns: int) -> int:
        """Milliseconds since the epoch."""
        return (boot_ns + self._offset) // 1_000_000

    def boot_ns(self, wall_ms: int) -> int:
        """Nanoseconds since boot."""
        return wall_ms * 1_000_000 - self._offset

    def stamp(self, wall_ms: int) -> str:
        """RFC 3339, UTC, milliseconds."""
        if wall_ms == self._wall_ms:  # many records share their time with the one before
            return self._stamp
        second, milliseconds = divmod(wall_ms, 1000)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        self._wall_ms, self._stamp = wall_ms, f"{self._prefix}.{milliseconds:03d}Z"
        return self._stamp
