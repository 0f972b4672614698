"""Looks after closed segments in a thread of its own: compresses them, and removes those that are too old or too many.

ISA-L's deflate takes a quarter of zlib's time for the same size, and no lock of the interpreter, so that records go on
meanwhile. A segment is there at every moment, plain or compressed: the compressed file gets its name when it is whole
and on the disk, and only then the plain one goes.
"""

import gzip
import logging
import os
import zlib
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

from isal import isal_zlib

from enricher.trail.folder import Folder
from enricher.trail.retention import Reason, Removed, Rotation, Stored, surplus
from exectrail.reading.segments import GZ, Names, Segment
from exectrail.service.worker import Worker

_EVERY = 60.0
_CHUNK = 1 << 18
_LEVEL, _GZIP_FORMAT = 2, 31
_CLOSE_WITHIN = 2.0
_MOST_REMOVED = 10_000
_PART = ".part"

log = logging.getLogger(__name__)


class Archive:
    """The closed segments of a trail.

    Args:
        file: The trail.
        rotation: What is kept, and how.

    """

    def __init__(self, file: Path, rotation: Rotation) -> None:
        self.failures = 0
        self._folder, self._rotation = file.parent, rotation
        self._names = Names(file.name)
        self._removed: deque[Removed] = deque(maxlen=_MOST_REMOVED)
        self._woken = True
        self._worker = Worker("archive", self._run)

    def start(self) -> None:
        """Look after the segments from now on."""
        self._worker.start()

    def wake(self) -> None:
        """There is a new segment."""
        with self._worker.changing():
            self._woken = True

    def removed(self) -> list[Removed]:
        """What was removed since the last call."""
        return [self._removed.popleft() for _ in range(len(self._removed))]

    def close(self) -> None:
        """End; a segment that is being compressed is compressed anew at the next start."""
        self._worker.close(_CLOSE_WITHIN)

    def _run(self) -> None:
        while not self._worker.closing:
            with self._worker.when(lambda: self._woken, _EVERY):
                self._woken = False
            try:
                # Opened anew each time: this thread outlives no folder that was swapped.
                with Folder(self._folder) as folder:
                    self.sweep(folder)
            except OSError as error:
                self._failed("looking after the trail's segments", error)

    def sweep(self, folder: Folder) -> None:
        """Compress and remove once.

        Raises:
            OSError: The folder cannot be read.

        """
        files = set(folder.files())
        for left in self._names.among(name.removesuffix(_PART) for name in files if name.endswith(_PART)):
            folder.remove(left.name + GZ + _PART)
        for segment in self._names.among(files):
            if segment.name in files and not self._worker.closing:
                self._compress(folder, segment, done=segment.name + GZ in files)
        for stored, reason in surplus(self._stored(folder), self._rotation, datetime.now(UTC)):
            self._remove(folder, stored, reason)

    def _compress(self, folder: Folder, segment: Segment, *, done: bool) -> None:
        """Compress one segment; `done` where that was so and a crash left the plain file beside it."""
        try:
            if not done and self._rotation.compress:
                self._write_compressed(folder, segment)
            if (done or self._rotation.compress) and not self._worker.closing:
                folder.remove(segment.name)
        except OSError as error:
            folder.remove(segment.name + GZ + _PART)
            self._failed(f"compressing {segment.name}", error)

    def _write_compressed(self, folder: Folder, segment: Segment) -> None:
        part = segment.name + GZ + _PART
        with folder.read(segment.name) as plain, folder.create(part) as file:
            packed = isal_zlib.compressobj(_LEVEL, wbits=_GZIP_FORMAT)
            while not self._worker.closing and (chunk := plain.read(_CHUNK)):
                file.write(packed.compress(chunk))
            file.write(packed.flush())
            file.flush()
            os.fsync(file.fileno())
        if self._worker.closing:
            folder.remove(part)
        else:
            folder.rename(part, segment.name + GZ)

    def _stored(self, folder: Folder) -> list[Stored]:
        files = set(folder.files())
        return [
            Stored(each, sum(folder.size(name) for name in (each.name, each.name + GZ) if name in files))
            for each in self._names.among(files)
        ]

    def _remove(self, folder: Folder, stored: Stored, reason: Reason) -> None:
        name = stored.segment.name
        records = _count_lines(folder, name)
        folder.remove(name)
        folder.remove(name + GZ)
        log.info("removed %s with %d records: %s", name, records, reason)
        self._removed.append(Removed(name, reason, records))

    def _failed(self, what: str, error: OSError) -> None:
        self.failures += 1
        log.warning("%s: %s", what, error.strerror or error)


def _count_lines(folder: Folder, name: str) -> int:
    """How many lines a segment has, as far as it can be read."""
    lines = 0
    packed = name + GZ in folder.files()
    try:
        with folder.read(name + GZ if packed else name) as file:
            stream = gzip.GzipFile(fileobj=file) if packed else file
            while chunk := stream.read(_CHUNK):
                lines += chunk.count(b"\n")
    except (OSError, EOFError, zlib.error) as error:
        log.warning("counting the records of %s: %s", name, error)
    return lines
