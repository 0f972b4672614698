"""A trail's lines from its end: the newest first, read as far as the caller takes them."""

import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from enricher.trail.folder import Folder
from exectrail.reading.segments import GZ, Names

_CHUNK = 1 << 20
_PACKED_CHUNK = 4 << 20
"""Bytes between two places to unpack from; each place keeps some 40 KiB."""
_READ = 1 << 16


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
                yield from _lines(_of_plain(plain, folder.size(name)))
        elif name + GZ in there:
            with folder.read(name + GZ) as packed:
                yield from _lines(_of_packed(packed))


def _of_plain(file: BinaryIO, size: int) -> Iterator[bytes]:
    """A file in pieces, the last one first."""
    while size > 0:
        size, end = max(0, size - _CHUNK), size
        file.seek(size)
        yield file.read(end - size)


def _of_packed(file: BinaryIO) -> Iterator[bytes]:
    """The same of a compressed one (gzip, RFC 1952), as far as it is whole.

    It can be unpacked forwards only. So it is once, keeping places on the way, and again from each, the last one first.
    """
    place: _Place | None = _Place(zlib.decompressobj(wbits=zlib.MAX_WBITS | 16), b"", 0)
    places: list[_Place] = []
    while place:
        places.append(place)
        _, place = _unpacked_from(place, file)
    while places:
        yield _unpacked_from(places.pop(), file)[0]


class _Place(NamedTuple):
    """Where to go on unpacking."""

    state: "zlib._Decompress"
    packed: bytes
    """Read, and not unpacked yet."""
    offset: int
    """Of what is to be read next."""


def _unpacked_from(place: _Place, file: BinaryIO) -> tuple[bytes, _Place | None]:
    """What is unpacked from a place on, and the next place; none at the end, or where the rest is cut or damaged."""
    state, packed = place.state.copy(), place.packed
    file.seek(place.offset)
    pieces: list[bytes] = []
    left = _PACKED_CHUNK
    while left > 0:
        packed = packed or file.read(_READ)
        if not packed or state.eof:
            return b"".join(pieces), None
        try:
            piece = state.decompress(packed, left)
        except zlib.error:
            return b"".join(pieces), None
        pieces.append(piece)
        left -= len(piece)
        packed = state.unconsumed_tail
    return b"".join(pieces), _Place(state, packed, file.tell())


def _lines(last_first: Iterable[bytes]) -> Iterator[bytes]:
    """The complete lines of a file that comes in pieces, from its end."""
    rest, whole = b"", False
    for piece in last_first:
        first, *lines = (piece + rest).split(b"\n")
        if not whole:
            if not lines:
                continue
            lines.pop()  # what stands after the last newline was cut by a crash
            whole = True
        yield from reversed(lines)
        rest = first
    if rest:
        yield rest
