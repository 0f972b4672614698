"""A stream of lines in blocks: each some hundred whole lines, so that what is looked for is looked for by the block.

Memory stays that of a block or two, whatever the stream: a line longer than any record comes as its beginning only.
"""

import codecs
import os
from collections.abc import Callable, Iterator
from typing import IO

BLOCK = 1 << 17
"""Bytes read at once."""
LONGEST_LINE = 1 << 20
"""Bytes. No record comes near it; of a longer line only the beginning is passed on, which is no record."""

BOM = b"\xef\xbb\xbf"


def forwards(stream: IO[bytes]) -> Iterator[bytes]:
    """Blocks in their order. The last one may end without a newline; a UTF-8 byte order mark is left out."""
    take = getattr(stream, "read1", stream.read)  # of a pipe what is there, not what will be
    take, rest = _begin(take)
    cut = False
    while data := take(BLOCK):
        if cut:  # in the middle of a line that was given up
            _, newline, data = data.partition(b"\n")
            cut = not newline
        if end := data.rfind(b"\n") + 1:
            yield b"".join((rest, memoryview(data)[:end]))
            rest = data[end:]
        else:
            rest += data
        if len(rest) > LONGEST_LINE:
            yield rest[:LONGEST_LINE] + b"\n"
            rest, cut = b"", True
    if rest:
        yield rest


class Lines:
    """Whole lines of what comes piece by piece; of one longer than any record the beginning, as in blocks."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def of(self, piece: bytes) -> list[bytes]:
        """Those that end in a piece, without their newlines."""
        *whole, rest = piece.split(b"\n")
        if whole:
            self._add(whole[0])
            whole[0] = bytes(self._rest)
            self._rest.clear()
        self._add(rest)
        return whole

    def _add(self, more: bytes) -> None:
        self._rest += more[: LONGEST_LINE - len(self._rest)]


def is_utf16(start: bytes) -> bool:
    """Whether a file that begins so is UTF-16 with its byte order mark, as Windows PowerShell's `>` writes it."""
    return start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))


def _begin(take: Callable[[int], bytes]) -> tuple[Callable[[int], bytes], bytes]:
    """What to read on with, and the stream's first bytes: in UTF-8, without a byte order mark."""
    start = b""
    while len(start) < len(BOM) and (more := take(len(BOM) - len(start))):
        start += more
    if not is_utf16(start):
        return take, start.removeprefix(BOM)
    decoder = codecs.getincrementaldecoder("utf-16")(errors="replace")
    begun = decoder.decode(start).encode()

    def taken(size: int) -> bytes:
        while data := take(size):
            if text := decoder.decode(data):
                return text.encode(errors="replace")
        return b""

    return taken, begun


def backwards(stream: IO[bytes], before: int | None = None) -> Iterator[bytes]:
    """Blocks from the end of a file, or from a place in it, to its beginning; inside a block, lines have their order.

    The size is taken once: what is appended meanwhile is not read.
    """
    at = stream.seek(0, os.SEEK_END) if before is None else before
    rest = b""  # the end of a line that begins further ahead
    cut = False
    while at:
        size = min(BLOCK, at)
        at -= size
        stream.seek(at)
        data = stream.read(size)
        if cut:  # in the middle of a line that was given up
            data, newline, _ = data.rpartition(b"\n")
            data, cut = data + newline, not newline
        end = data.find(b"\n") + 1 if at else len(BOM) if data.startswith(BOM) else 0
        if at and not end:
            rest = data + rest
        elif block := data[end:] + rest:
            yield block
            rest = data[:end]
        else:
            rest = data[:end]
        if len(rest) > LONGEST_LINE:
            yield rest[:LONGEST_LINE] + b"\n"
            rest, cut = b"", True
