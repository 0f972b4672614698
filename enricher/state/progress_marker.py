"""The enricher's word on how far its trail is complete, renewed each second: the next one knows what is missing.

What happened before a moment is in the trail only once it has been read, released, sealed and written: that is known a
while later. So the moment is kept with the number of the last record that was sealed by then, until that is written.
"""

from collections import deque
from pathlib import Path

import msgspec
from msgspec import Struct

from enricher.emit.gap import Gap
from enricher.state.checkpoint import FORMAT
from exectrail.service import atomic_file
from exectrail.service.atomic_file import SmallFile

_SIZE = 256
_MOST = 600


class Alive(Struct, frozen=True):
    """Everything up to `until` is written."""

    boot_id: str
    until: int
    """Nanoseconds since boot."""
    until_ms: int
    """The same in milliseconds since the epoch, for another boot."""
    forks: int
    """The kernel's count of forks at that time or before."""
    format: int = FORMAT


class Moment(Struct, frozen=True):
    """A look at how far things are."""

    at: int
    """When it was taken: nanoseconds since boot."""
    complete: int
    """Up to when everything that happened had been sealed by then."""
    seq: int
    """The last record that was sealed by then."""
    forks: int
    """The kernel's count of forks at `at`, or a moment before; never after: a gap's `atMost` counts from here."""


class Progress:
    """Knows up to when everything is written, from the looks before."""

    def __init__(self) -> None:
        self._moments: deque[Moment] = deque()
        self._complete: int | None = None

    def note(self, moment: Moment, written: int) -> tuple[int, int] | None:
        """Take a look; returns up to when all is written, and the count of forks of that time or before.

        `None` until what had been sealed by the first look is written: up to then the word of the enricher before
        holds. The gap that this one found may be what is not written yet, and would be forgotten with it.

        Args:
            moment: The look.
            written: The last record that is written.

        """
        self._moments.append(moment)
        if len(self._moments) > _MOST:  # a storage that takes nothing: the oldest are what matters
            del self._moments[-2]
        if self._complete is None and self._moments[0].seq > written:
            return None
        self._complete = max(self._complete or 0, *(each.complete for each in self._moments if each.seq <= written), 0)
        while len(self._moments) > 1 and self._moments[1].at <= self._complete:
            self._moments.popleft()
        return self._complete, self._moments[0].forks


class ProgressFile:
    """The word on disk. It is not synced: after a reboot an older word only makes the gap longer.

    Raises:
        OSError: The file cannot be opened.

    """

    def __init__(self, path: Path) -> None:
        self._file = SmallFile(path, _SIZE)

    def load(self) -> Alive | None:
        """The word of the enricher before; None where there was none.

        Raises:
            Unusable: It cannot be read.

        """
        data = self._file.read()
        return decode(data) if data else None

    def save(self, alive: Alive) -> None:
        """Renew it.

        Raises:
            OSError: It cannot be written.

        """
        self._file.write(msgspec.json.encode(alive))


def decode(data: bytes) -> Alive:
    """Read a word.

    Raises:
        Unusable: It is cut, damaged, or of a format that is not known here.

    """
    return atomic_file.decode(data, Alive, FORMAT, "the time of the last record")


def forks() -> int:
    """How many processes and threads were born on this node since it booted: `processes` in /proc/stat (proc(5))."""
    with open("/proc/stat", "rb") as stat:
        return next(int(line.split()[1]) for line in stat if line.startswith(b"processes "))


def between(before: Alive, boot_id: str, offset_ns: int, now_ms: int, forks: int) -> Gap:
    """The gap between an enricher's last word and now.

    Args:
        before: That word.
        boot_id: Of this boot.
        offset_ns: What to add to nanoseconds since this boot to get those since the epoch.
        now_ms: Milliseconds since the epoch.
        forks: The kernel's count of forks by now.

    """
    if before.boot_id != boot_id:
        return Gap("reboot", now_ms, before.until_ms, boot_id=before.boot_id)
    since_ms = (before.until + offset_ns) // 1_000_000  # by the present clock, which may have been set
    return Gap("restart", now_ms, since_ms, {"processes": max(0, forks - before.forks)})
