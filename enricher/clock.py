"""Time: from nanoseconds since boot, in which the kernel counts, to the wall-clock time stamps of records."""

import time

from enricher.procfs import boot_to_wall_ns


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
