"""Where the trail goes: a file on the node or on a volume (`file_sink`), or standard output."""

import os
from collections.abc import Iterable
from typing import Protocol

from enricher.trail.retention import Removed

_ATONCE = 1 << 16
"""What a pipe holds by default: the writer sees progress after each such piece."""


class Sink(Protocol):
    """Takes the lines of the trail. Its calls may wait for a slow storage; one thread makes them."""

    @property
    def failures(self) -> int:
        """How often something went wrong beside the writes themselves."""

    def write(self, lines: bytearray) -> int:
        """Take whole lines; returns how many bytes of whole lines are done with.

        A line that was cut short is not among them: it goes on where it was cut at the next call, which has to begin
        with it.

        Raises:
            OSError: Nothing could be written now.

        """

    def last_lines(self) -> Iterable[bytes]:
        """The lines that the sink has already, the newest first, where they can be read again."""

    def maintain(self) -> None:
        """Look after the storage; to be called each second.

        Raises:
            OSError: The storage cannot be reached now.

        """

    def wrong(self) -> str | None:
        """What is wrong although writes succeed."""

    def removed(self) -> list[Removed]:
        """Segments that were removed since the last call."""

    def close(self) -> None:
        """Hand everything to the disk."""


class StdoutSink:
    """Writes to standard output, which carries nothing else: other code that prints there goes to standard error."""

    def __init__(self) -> None:
        self.failures = 0
        self._fd = os.dup(1)
        os.dup2(2, 1)
        self._cut = 0

    def write(self, lines: bytearray) -> int:
        """Write; waits for a reader that is slow."""
        with memoryview(lines) as view:
            upto = self._cut + os.write(self._fd, view[self._cut : self._cut + _ATONCE])
        whole = lines.rfind(b"\n", 0, upto) + 1
        self._cut = upto - whole
        return whole

    def last_lines(self) -> Iterable[bytes]:
        """None: what went out cannot be read again."""
        return ()

    def maintain(self) -> None:
        """Nothing to look after."""

    def wrong(self) -> str | None:
        """Nothing: a write that fails raises."""
        return None

    def removed(self) -> list[Removed]:
        """Nothing: the reader of the output keeps it."""
        return []

    def close(self) -> None:
        """Close; the reader sees the end."""
        os.close(self._fd)
