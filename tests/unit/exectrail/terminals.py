"""The command on a terminal, which pipes are not."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

TERMINAL = {"TERM": "xterm", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


class OnTerminal:
    """A process and the terminal that its output, its error output or both go to."""

    def __init__(self, process: "subprocess.Popen[bytes]", leader: int) -> None:
        self.process, self._leader = process, leader
        self.shown = ""

    def waits_for(self, words: str) -> str:
        """Read until these words are shown; all that was shown up to them."""
        while words not in self.shown:
            self.shown += os.read(self._leader, 1 << 16).decode().replace("\r\n", "\n")
        return self.shown

    def rest(self) -> str:
        """All that is shown, up to the end of the process."""
        with suppress(OSError):  # how Linux ends a terminal
            while data := os.read(self._leader, 1 << 16):
                self.shown += data.decode().replace("\r\n", "\n")
        return self.shown


@contextmanager
def on_terminal(
    *argv: str, stdout: bool = True, stderr: bool = False, stdin: bool = False, env: dict[str, str] | None = None
) -> Iterator[OnTerminal]:
    """The command with these arguments; what does not go to the terminal is in `process.stdout` or `.stderr`."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "exectrail", *argv],
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=follower if stdout else subprocess.PIPE,
        stderr=follower if stderr else subprocess.PIPE,
        env={"PATH": os.environ["PATH"]} | TERMINAL | (env or {}),
    ) as process:
        os.close(follower)
        try:
            yield OnTerminal(process, leader)
        finally:
            os.close(leader)
