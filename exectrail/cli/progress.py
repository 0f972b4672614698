"""How far a long reading is: on standard error, on a terminal, and only once it takes longer than a moment."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from exectrail.reading.report import Report

AFTER = 1.0
_EVERY = 0.2
_CLEAR = "\r\x1b[K"


@contextmanager
def shown(report: Report) -> Iterator[None]:
    """Show it while the block reads; it must not print meanwhile."""
    if not sys.stderr.isatty():
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_show, args=(report, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _show(report: Report, ended: threading.Event) -> None:
    began = time.monotonic()
    if ended.wait(AFTER):
        return
    said = False
    while not ended.wait(_EVERY):
        if report.records:  # before that, a credential plugin may have asked something in this line
            said = True
            sys.stderr.write(f"{_CLEAR}reading: {report.records:,} records, {time.monotonic() - began:.0f} s")
            sys.stderr.flush()
    if said:
        sys.stderr.write(_CLEAR)
        sys.stderr.flush()
