"""Calls a function in a process of its own, which ends with it.

`cryptography` takes 10 MiB of memory for as long as the process lives that imports it, a sixth of what the webhook may
take. It is needed once at the start and then a few times a year.
"""

import importlib
import subprocess
import sys

_SECONDS = 30.0


class Failed(Exception):
    """The process came to no answer."""


def call(module: str, request: bytes) -> bytes:
    """What the function `answer` of a module makes of a request.

    Raises:
        Failed: It had a fault, or took longer than half a minute.

    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__, module], input=request, capture_output=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{module} came to no answer in {_SECONDS:.0f} s") from error
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise Failed(f"{module} failed with code {done.returncode}: {last}")
    return done.stdout


if __name__ == "__main__":
    sys.stdout.buffer.write(importlib.import_module(sys.argv[1]).answer(sys.stdin.buffer.read()))
