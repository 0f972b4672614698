"""The trail as a file that only its group may read, cut into segments; one process writes it, held by a lock file.

Whatever the storage does, a line is there whole and once: a write that was cut short goes on where it was cut, and
where that is no longer possible, because the file is another one by now, its beginning is ended as a damaged line and
the line starts anew.
"""

import contextlib
import errno
import logging
import os
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from enricher.trail.archive import Archive
from enricher.trail.folder import FOLDER_MODE, Folder
from enricher.trail.retention import Removed, Rotation
from enricher.trail.syncer import Policy, Syncer
from enricher.trail.tail import newest_first
from exectrail.reading.segments import Names

_AT_ONCE = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)
_PASSING = (*_FULL, errno.EROFS, errno.EIO, errno.ESTALE, errno.ETIMEDOUT)
"""What a volume may recover from: no reason not to start."""
_WAIT_FOR_LOCK = 10.0
_NEXT_TRY = 1.0

_timestamp = re.compile(rb'"timestamp":"([^"]+)"').search

log = logging.getLogger(__name__)


class _File(Struct):
    """The file that is being written."""

    fd: int
    device: int
    inode: int
    size: int
    begun: datetime
    """When its first record was made."""


class FileSink:
    """Appends to a file, closes it as a segment when it is large or old, and begins the next.

    Args:
        path: The file.
        rotation: When it is closed, and what is kept.
        sync: When it is handed to the disk.
        wait: How long to wait for a predecessor that still writes it, in seconds.

    Raises:
        Occupied: Another process writes the file (see `folder`).
        OSError: The file cannot be opened, for a reason that does not pass: it is a symbolic link, say.

    """

    def __init__(
        self,
        path: Path,
        rotation: Rotation | None = None,
        sync: Policy = "interval",
        wait: float = _WAIT_FOR_LOCK,
    ) -> None:
        self._path, self._names = path, Names(path.name)
        self._rotation = rotation or Rotation()
        self._syncer = Syncer(sync)
        self._archive = Archive(path, self._rotation)
        self._folder: Folder | None = None
        self._refused = ""
        self._file: _File | None = None
        self._cut = 0
        """How many bytes of the next line are in the file already."""
        self._before: _File | None = None
        """The file that was given up last: the one that holds what is cut."""
        self._rotation_failed: str | None = None
        self._rotate_from = 0.0
        self._failures = 0
        try:
            self._ready(wait)
        except OSError as error:
            if error.errno not in _PASSING:
                self._syncer.close()
                raise
            log.warning("the trail cannot be opened now, its records wait: %s", error)
        self._archive.start()

    @property
    def failures(self) -> int:
        """Rotations, syncs, compressions and removals that failed."""
        return self._failures + self._syncer.failures + self._archive.failures

    def write(self, lines: bytearray) -> int:
        """Append, into the next segment where this one has no room for another line."""
        file = self._ready()
        if self._cut == 0 and self._is_due(file, lines.index(b"\n") + 1):
            file = self._rotate(file)
        with memoryview(lines) as view:
            try:
                written = os.write(file.fd, view[self._cut : self._fitting(file, lines)])
            except OSError as error:
                if error.errno not in _FULL:
                    self._give_up()
                raise
        file.size += written
        self._syncer.written(file.fd)
        whole = lines.rfind(b"\n", 0, self._cut + written) + 1
        self._cut += written - whole
        return whole

    def _fitting(self, file: _File, lines: bytearray) -> int:
        """Where to cut: behind the last line that still fits; the first has its place in any case."""
        room = min(_AT_ONCE, self._rotation.max_size - file.size + self._cut)
        return lines.rfind(b"\n", 0, max(0, room)) + 1 or lines.index(b"\n") + 1

    def _is_due(self, file: _File, line: int) -> bool:
        if file.size == 0 or time.monotonic() < self._rotate_from:
            return False
        after = self._rotation.close_after
        old = after is not None and datetime.now(UTC) - file.begun > after
        return old or file.size + line > self._rotation.max_size

    def _rotate(self, file: _File) -> _File:
        """Close the segment and begin the next; where that fails, the present one goes on beyond its bounds."""
        folder = self._opened()
        try:
            if folder.leads_to(self._path.name, file.fd):
                segments = self._names.among(folder.files())
                folder.rename(self._path.name, self._names.following(segments, datetime.now(UTC)).name)
        except OSError as error:
            self._failures += 1
            self._rotation_failed = f"{self._path} grows beyond its bounds: {error.strerror}"
            self._rotate_from = time.monotonic() + _NEXT_TRY
            return file
        self._rotation_failed = None
        self._release()
        self._archive.wake()
        return self._ready()

    def maintain(self) -> None:
        """Go on in a new file where this one was moved or emptied, or another volume was mounted in its place."""
        file, folder = self._ready(), self._opened()
        if not folder.in_place():
            self._give_up()
        elif not folder.leads_to(self._path.name, file.fd):
            self._release()
        elif os.fstat(file.fd).st_size != file.size:
            self._cut, file.size = 0, _end_torn_line(file.fd)
        if self._file and self._cut == 0 and self._is_due(file, 0):
            self._rotate(file)
        self._ready()

    def wrong(self) -> str | None:
        """What is wrong although writes succeed."""
        return self._rotation_failed or self._syncer.wrong()

    def removed(self) -> list[Removed]:
        """Segments that were removed since the last call."""
        return self._archive.removed()

    def last_lines(self) -> Iterator[bytes]:
        """The complete lines that are there already, the newest first."""
        try:
            with Folder(self._path.parent) as folder:
                yield from newest_first(folder, self._path.name)
        except OSError as error:
            log.warning("the trail's end cannot be read, using the saved state: %s", error)

    def close(self) -> None:
        """Hand everything to the disk, as far as it takes it in time, and let the file go."""
        self._release()
        self._syncer.close()
        self._archive.close()
        if self._folder:
            self._folder.close()

    def _ready(self, wait: float = 0.0) -> _File:
        """The file, opened anew where it was given up.

        Raises:
            OSError: That cannot be done now.

        """
        folder = self._opened(wait)
        if self._file is None:
            self._file = self._open(folder)
            self._syncer.finish(folder.sync())
        return self._file

    def _opened(self, wait: float = 0.0) -> Folder:
        if self._folder is None:
            folder = Folder(self._path.parent, make=True)
            try:
                if not folder.lock(f".{self._path.name}.lock", wait):
                    log.warning("%s: has no locks; a second enricher could write there as well", self._path)
            except OSError:
                folder.close()
                raise
            if folder.refused and folder.refused != self._refused:
                expected = f"expected {os.getegid()} and {FOLDER_MODE:04o}"
                log.warning("%s: %s, %s: see who may read the trail there", self._path.parent, folder.refused, expected)
            self._refused = folder.refused
            self._folder = folder
        return self._folder

    def _open(self, folder: Folder) -> _File:
        fd = folder.append(self._path.name)
        try:
            there, before = os.fstat(fd), self._before
            place = (there.st_dev, there.st_ino, there.st_size)
            if before is None or (before.device, before.inode, before.size) != place:
                self._cut = 0
            size = there.st_size if self._cut else _end_torn_line(fd)
            return _File(fd, there.st_dev, there.st_ino, size, _begun(fd))
        except OSError:
            os.close(fd)
            raise

    def _release(self) -> None:
        """Let the file go, synced; the next call opens the one of its name."""
        if self._file:
            self._before, self._file = self._file, None
            self._syncer.finish(self._before.fd)

    def _give_up(self) -> None:
        """Let file and folder go: neither may be what it was."""
        self._release()
        if self._folder:
            self._folder.close()
            self._folder = None


def _end_torn_line(fd: int) -> int:
    """End a line that was cut, so that the next one starts anew; returns the file's size."""
    size = os.fstat(fd).st_size
    if size and os.pread(fd, 1, size - 1) != b"\n":
        size += os.write(fd, b"\n")
    return size


def _begun(fd: int) -> datetime:
    """When a file's first record was made; now where no timestamp can be read."""
    found = _timestamp(os.pread(fd, 4096, 0))
    with contextlib.suppress(ValueError):
        if found:
            return datetime.fromisoformat(found[1].decode(errors="replace")).astimezone(UTC)
    return datetime.now(UTC)
