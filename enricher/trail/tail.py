"""A trail's lines from its end: the newest first, read as far as the caller takes them."""

from collections.abc import Iterator
from typing import BinaryIO

from enricher.trail.folder import Folder
from exectrail.reading.gzipped import unpacked
from exectrail.reading.segments import GZ, Names

_CHUNK = 1 << 20


def newest_first(folder: Folder, file: str) -> Iterator[bytes]:
    """The complete lines of a trail's file and its segments, without their newlines.

    Raises:
        OSError: One of them cannot be read.

    """
    there = set(folder.files())
    segments = [each.name for each in reversed(Names(file).among(there))]
    for name in (file, *segments):
        if name in there:
            with folder.read(name) as plain:
                yield from _backwards(plain, folder.size(name))
        elif name + GZ in there:
            with folder.read(name + GZ) as packed:
                lines = [line.rstrip(b"\n") for line in unpacked(packed) if line.endswith(b"\n")]
            yield from reversed(lines)


def _backwards(file: BinaryIO, size: int) -> Iterator[bytes]:
    rest, whole = b"", False
    while size > 0:
        size, end = max(0, size - _CHUNK), size
        file.seek(size)
        first, *lines = (file.read(end - size) + rest).split(b"\n")
        if not whole:
            if not lines:
                continue
            lines.pop()  # what stands after the last newline was cut by a crash
            whole = True
        yield from reversed(lines)
        rest = first
    if rest:
        yield rest
