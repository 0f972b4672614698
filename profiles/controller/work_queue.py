"""Things to look at again: each once, however often it changed, and later where it failed."""

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from exectrail.service.backoff import Backoff

_BACKOFF_FIRST, _BACKOFF_MOST = 0.5, 60.0

K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """Keys that are due now or later. Any thread adds; one takes.

    Args:
        pause: Seconds from a key's change until it is due: changes that come together are looked at once.
        clock: Seconds, monotonic.

    """

    def __init__(self, pause: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._pause, self._clock = pause, clock
        self._due: dict[K, float] = {}
        self._failed: dict[K, Backoff] = {}
        self._changed = threading.Condition()

    def add(self, key: K) -> None:
        """Look at it soon. One that is due later because it failed is due soon, too."""
        with self._changed:
            at = self._clock() + self._pause
            self._due[key] = min(at, self._due.get(key, at))
            self._changed.notify_all()

    def take(self, wait: float) -> K | None:
        """The key that is due first; `None` where none is within `wait` seconds."""
        until = self._clock() + wait
        with self._changed:
            while True:
                now = self._clock()
                key = min(self._due, key=self._due.__getitem__, default=None)
                at = self._due[key] if key is not None else until
                if key is not None and at <= now:
                    del self._due[key]
                    return key
                if now >= until:
                    return None
                self._changed.wait(min(at, until) - now)

    def succeeded(self, key: K) -> None:
        """Say that what was taken is done."""
        with self._changed:
            self._failed.pop(key, None)

    def failed(self, key: K) -> float:
        """Say that what was taken is to be tried again, later each time in a row; in how many seconds."""
        with self._changed:
            seconds = self._failed.setdefault(key, Backoff(_BACKOFF_FIRST, _BACKOFF_MOST)).next()
            self._due.setdefault(key, self._clock() + seconds)
            return seconds
