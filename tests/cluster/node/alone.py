"""What changes the node runs alone, and finds its programs."""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from .paths import LOCK
from .run import say

# A user's PATH may lack the folders where iptables and modprobe are; `su` of Debian keeps that PATH.
_SYSTEM = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_inner = threading.local()


@contextmanager
def alone() -> Iterator[None]:
    """One command at a time on a machine: the second waits for the first. Within itself it waits for nothing.

    The folders that it puts on PATH stay there: whoever brought the node up goes on to use it.
    """
    _find_system_programs()
    if getattr(_inner, "alone", False):
        yield
        return
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("w") as file:
        _lock(file)
        _inner.alone = True
        try:
            yield
        finally:
            _inner.alone = False


def _lock(file: IO[str]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("waiting for another command on the node to end")
        fcntl.flock(file, fcntl.LOCK_EX)


def _find_system_programs() -> None:
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join([*folders, *(folder for folder in _SYSTEM if folder not in folders)])
