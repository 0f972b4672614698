"""Being ended by a signal: what was begun ends, and what was changed for a while is put right on the way out."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import NodeError
from .paths import STATE
from .process import descendants, end_all, marked

_came = threading.Event()


def obey() -> None:
    """End by SIGTERM as by an error: each `finally` is run. The programs that run by then end first."""
    signal.signal(signal.SIGTERM, _end)


def require_none() -> None:
    """Raises NodeError after a SIGTERM: another thread isn't to begin what takes minutes."""
    if _came.is_set():
        raise NodeError("ended by SIGTERM")


def _end(*_: object) -> None:
    if not _came.is_set():
        _came.set()
        # Not the node's services: they outlive us.
        end_all(list(descendants(os.getpid(), but=list(marked(str(STATE))))))
        sys.exit(1)


@contextmanager
def postponed() -> Iterator[None]:
    """SIGTERM and Ctrl-C wait until what must not stop half-way is done."""
    if threading.current_thread() is not threading.main_thread():  # which no signal interrupts
        yield
        return
    came: list[int] = []
    signals = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda number, _: came.append(number)) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
