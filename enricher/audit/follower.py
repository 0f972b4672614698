"""Follows a log that others write, rotate and truncate: every whole line of it, once, in order.

It polls: once around, at the end of the file, costs a read and a stat. Nothing of the file is kept but the `TAIL` bytes
before the place that was reached; a half line is read again until it is whole. Those bytes show at each read that the
file still is what it was: they are gone where it was truncated, also when it has grown past the place since.

Rename: the old file is read to its end before the next one is begun, and none in between is left out.
Copy and truncate: what was not read yet is read in the copy. What was written between the two is lost.
"""

import os
import zlib
from pathlib import Path
from typing import Final, Self

from msgspec import Struct

from enricher.audit import rotation
from enricher.audit.rotation import TAIL, Generation

CHUNK: Final = 128 << 10
"""Bytes of one read."""
LONGEST: Final = 64 << 10
"""A line longer than this is left out; the kernel's own text ends before 9 KiB (MAX_AUDIT_MESSAGE_LENGTH)."""


class Position(Struct, frozen=True):
    """A place in a log that outlives its rotation: the file, and a checksum of what is before it."""

    device: int
    inode: int
    offset: int
    tail: int
    """CRC-32 of the `TAIL` bytes before."""


class Follower:
    """Reads on from where it is.

    The attributes count: `cut` (lines without an end when their file was left), `overlong` (lines above `LONGEST`),
    `rotated` and `truncated` (how often the log was). `behind` is true while there may be more to be read at once.

    Args:
        path: The log. It is begun at its start as soon as it is there.

    """

    def __init__(self, path: Path) -> None:
        self.cut = self.overlong = self.rotated = self.truncated = 0
        self.behind = False
        self._path = path
        self._fd = -1
        self._at, self._before = 0, b""
        self._half = b""
        """What follows, as far as it has been seen: mostly nothing, else half a line."""
        self._skipping = False

    @classmethod
    def at_end(cls, path: Path) -> Self:
        """Read what comes from now on; half a line at the end is left out."""
        follower = cls(path)
        if now := rotation.generation(path):
            follower._open(now, now.size)
        return follower

    @classmethod
    def resume(cls, path: Path, position: Position) -> Self | None:
        """Read on from a place, wherever that is by now; None where no file is what was read then."""
        files = sorted(rotation.generations(path), key=lambda each: each.inode == position.inode)
        for each in reversed(files):
            tail = rotation.tail_of(each.path, position.offset)
            is_same = (each.device, each.inode) == (position.device, position.inode)
            if tail is not None and zlib.crc32(tail) == position.tail and (is_same or position.offset):
                follower = cls(path)
                follower._open(each, position.offset)
                return follower
        return None

    @classmethod
    def since(cls, path: Path, wall_ms: int) -> Self:
        """Read everything that is left of what was written since a time, in milliseconds since the epoch."""
        follower = cls(path)
        files = [each for each in rotation.generations(path) if each.written >= wall_ms * 1_000_000]
        if files:
            follower._open(files[0], 0)
        return follower

    def lines(self) -> bytes:
        """Go one step: the whole lines that came of it, nothing where none did.

        Raises:
            OSError: The log cannot be read just now.

        """
        if self._fd < 0 and not self._begin():
            return b""
        data = self._unread()
        if data is None:
            self._go_back()
            self.behind = True
            return b""
        whole = self._take(data)
        self.behind = bool(whole) or len(data) == CHUNK or self._go_on(len(data))
        return whole

    def position(self) -> Position | None:
        """Where to go on another time; None where nothing was found yet."""
        if self._fd < 0:
            return None
        stat = os.fstat(self._fd)
        return Position(stat.st_dev, stat.st_ino, self._at, zlib.crc32(self._before))

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _begin(self) -> bool:
        now = rotation.generation(self._path)
        return now is not None and self._open(now, 0)

    def _open(self, file: Generation, at: int) -> bool:
        """Go to a place of a file; false if it has another name by now, or no such place."""
        tail = rotation.tail_of(file.path, at)
        try:
            fd = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        if tail is None or os.fstat(fd).st_ino != file.inode:  # rotated once more in between
            os.close(fd)
            return False
        self.close()
        self._fd, self._at, self._before = fd, at, tail
        self._half = os.pread(fd, TAIL, at)  # else, of a file just begun, a truncation would not show
        self._skipping = at > 0 and not self._before.endswith(b"\n")
        return True

    def _unread(self) -> bytes | None:
        """What follows; None where what was seen of the file is not there any more."""
        kept = len(self._before)
        data = os.pread(self._fd, kept + CHUNK, self._at - kept)
        return data[kept:] if data.startswith(self._before + self._half) else None

    def _take(self, data: bytes) -> bytes:
        end = data.rfind(b"\n") + 1
        if not end and len(data) < LONGEST:
            self._half = data
            return b""
        begin = data.find(b"\n") + 1 if self._skipping else 0
        if not end:
            self.overlong += not self._skipping
            begin = end = len(data)
        self._skipping = data[end - 1 : end] != b"\n"
        self._before = (self._before + data[max(0, end - TAIL) : end])[-TAIL:]
        self._at, self._half = self._at + end, data[end:]
        return data[begin:end]

    def _go_on(self, half: int) -> bool:
        """At the end of a file: whether there is another one by now, or more in this one."""
        here = rotation.of_stat(self._path, os.fstat(self._fd))
        following = rotation.successor(self._path, here)
        if following is None:
            return False
        # Only now is it certain that auditd writes here no more: the next file has been written to.
        if os.fstat(self._fd).st_size > self._at + half:
            return True
        was_cut = half > 0 and not self._skipping
        if self._open(following, 0):
            self.cut += was_cut
            self.rotated += 1
        return True

    def _go_back(self) -> None:
        """The file was truncated: first what is left in a copy of it, then all of what it is now."""
        self.truncated += 1
        copy = rotation.copy_with(self._path, self._at - len(self._before), self._before + self._half)
        if copy is None or not self._open(copy, self._at):
            self._at, self._before, self._half, self._skipping = 0, b"", b"", False


def end_of(path: Path) -> Position | None:
    """The end of a log as of now; None if it cannot be read."""
    try:
        now = rotation.generation(path)
    except OSError:
        return None
    tail = rotation.tail_of(path, now.size) if now else None
    return None if now is None or tail is None else Position(now.device, now.inode, now.size, zlib.crc32(tail))
