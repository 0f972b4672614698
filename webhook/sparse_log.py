"""Log lines that a caller can cause at will: at most one of a kind in ten seconds, and how many were left out."""

import logging
import time
from collections.abc import Callable

_EVERY_SECONDS = 10.0
LONGEST = 200
"""Characters of a message that a caller has a say in."""


class SparseLog:
    """Warnings by kind. A kind is one of a few words in the code, never a caller's."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log, self._clock = log, clock
        self._last: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def warning(self, kind: str, message: str, **extra: object) -> None:
        """Log this unless one of its kind was logged a moment ago; then count it for the next line."""
        now = self._clock()
        if now - self._last.get(kind, -_EVERY_SECONDS) < _EVERY_SECONDS:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return
        self._last[kind] = now
        if left_out := self._left_out.pop(kind, 0):
            extra["left_out"] = left_out
        self._log.warning("%s", message[:LONGEST], extra=extra)

    def flush(self) -> None:
        """Log how many were left out of kinds that have no next line; to be called now and then."""
        now = self._clock()
        for kind in [kind for kind in self._left_out if now - self._last[kind] >= _EVERY_SECONDS]:
            self._last[kind] = now
            self._log.warning("more of the same: %s", kind, extra={"left_out": self._left_out.pop(kind)})
