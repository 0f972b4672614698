"""Whether the controller is healthy.

Healthy is a controller whose work goes on, also while the API is away or another replica leads: a restart would mend
neither. There is nothing to wait for before it is ready: it serves no requests.
"""

import time
from collections.abc import Callable

STUCK_SECONDS = 300.0
"""No step takes that long: every request has a time limit."""


class Pulse:
    """When the work last went on."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()

    def beat(self) -> None:
        """Say that it goes on."""
        self._last = self._clock()

    def is_alive(self) -> bool:
        """Whether it went on lately."""
        return self._clock() - self._last < STUCK_SECONDS

    def wrong(self) -> str | None:
        """What a health check says."""
        return None if self.is_alive() else f"no progress for {STUCK_SECONDS:.0f} s"
