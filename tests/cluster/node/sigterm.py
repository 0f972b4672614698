"""Being ended by a signal: what was changed for a while is put right on the way out."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


def obey() -> None:
    """End by SIGTERM as by an error: each `finally` is run."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


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
