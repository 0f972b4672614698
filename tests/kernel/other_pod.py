"""What another pod of the node does to the one audit subsystem that all share."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.kernel.test_netlink import NUMBERS, UNDER_FILTER

_CALLS = "for _ in range(calls):\n    os.getppid()\n"
_BURSTS = """import time
while True:
    for _ in range(calls):
        os.getppid()
    time.sleep(0.001)
"""


@contextmanager
def logged_all_the_time(calls: int = 3) -> Iterator[None]:
    """Have the kernel log so many system calls of another process each millisecond."""
    assert _CALLS in UNDER_FILTER
    code = UNDER_FILTER.replace(_CALLS, _BURSTS)
    process = subprocess.Popen([sys.executable, "-c", code, str(NUMBERS["getppid"]), str(calls)])
    try:
        yield
    finally:
        process.kill()
        process.wait()
