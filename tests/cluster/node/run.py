"""Running other programs, and telling the user what is going on."""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .errors import NodeError


def say(text: str) -> None:
    """Progress goes to standard error: standard output is for `eval`."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def step(what: str, takes: str = "") -> Iterator[None]:
    """Announce `what` with its duration once it is done; and before, if it `takes` so long that one wonders."""
    start = time.monotonic()
    if takes:
        say(f"  {what}: takes about {takes}, once")
    yield
    say(f"  {what:<44} {time.monotonic() - start:6.1f} s")


def run(
    *argv: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
) -> str:
    """Run a program to its end and return its standard output.

    Raises NodeError with the end of what it wrote, if it fails or is missing.
    """
    command = [str(arg) for arg in argv]
    try:
        done = subprocess.run(command, env=env, cwd=cwd, input=stdin, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise NodeError(f"{command[0]}: program not found ({error})") from error
    if done.returncode != 0:
        raise NodeError(f"failed ({done.returncode}): {' '.join(command)}\n{tail(done.stdout + done.stderr)}")
    return done.stdout


def succeeds(*argv: str | Path) -> bool:
    """Whether a program ends with exit code 0; its output is dropped."""
    command: Sequence[str] = [str(arg) for arg in argv]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def tail(text: str, lines: int = 20) -> str:
    """The last `lines` of `text`."""
    return "\n".join(text.rstrip().splitlines()[-lines:])
