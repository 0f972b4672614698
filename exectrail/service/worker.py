"""A thread that waits for work, and the lock of what it shares with its callers."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Worker:
    """A thread of its own for slow work. It does not keep the process alive.

    Args:
        name: The thread's.
        run: All that the thread does. It waits by `when`, and returns soon after `closing` is set.

    """

    def __init__(self, name: str, run: Callable[[], object]) -> None:
        self.closing = False
        """Whether the thread is to end."""
        self.lock = threading.Condition()
        """Protects what is shared; to change that, use `changing`."""
        self._run = run
        self._thread = threading.Thread(target=run, name=name, daemon=True)

    @property
    def ended(self) -> bool:
        """Whether the thread was started and is gone."""
        return bool(self._thread.ident) and not self._thread.is_alive()

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock; at its end, all waits look again."""
        with self.lock:
            yield
            self.lock.notify_all()

    @contextmanager
    def when(self, due: Callable[[], object], seconds: float | None = None) -> Iterator[None]:
        """Wait until there is something to do, or the end, at most so long; then hold the lock."""
        with self.lock:
            most = None if seconds is None else min(seconds, threading.TIMEOUT_MAX)  # a longer one would end the thread
            self.lock.wait_for(lambda: self.closing or due(), most)
            yield

    def close(self, seconds: float) -> None:
        """Have the thread end, and wait for that at most so long; what never started does its last work here."""
        with self.changing():
            self.closing = True
        if self._thread.ident:
            self._thread.join(seconds)
        else:
            self._run()
