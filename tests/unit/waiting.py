"""Waiting for what other threads do."""

import threading
from collections.abc import Callable


def until(holds: Callable[[], object]) -> None:
    pause = threading.Event()
    for _ in range(1000):
        if holds():
            return
        pause.wait(0.01)
    raise AssertionError("never came true")
