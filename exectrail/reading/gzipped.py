"""Reading what may be compressed: recognised by its first bytes (RFC 1952), and read as far as it is whole."""

import io
import zlib
from typing import IO, Any

_MAGIC = b"\x1f\x8b"
_READ = 1 << 17
_WHOLE = 1 << 18
"""Bytes of a piece, packed and unpacked."""
UNREADABLE = "unreadable from here on:"
"""How the line begins in which damaged data ends."""


def is_gzip(stream: io.BufferedReader) -> bool:
    """Whether a stream begins as compressed data does; nothing is taken from it."""
    return stream.peek(len(_MAGIC))[: len(_MAGIC)] == _MAGIC


def unpacked(stream: IO[bytes]) -> IO[bytes]:
    """The stream itself, or what is compressed in it.

    Compressed data that is cut or damaged ends in a line that says so and is no record of a trail: readers count it
    as damage, like any other line that is none, and have everything before it.
    """
    if isinstance(stream, io.BufferedReader) and is_gzip(stream):
        return io.BufferedReader(_Unpacked(stream), _WHOLE)
    return stream


class _Unpacked(io.RawIOBase):
    """The members of a gzip file, one after the other."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream = stream
        self._packed = b""
        self._member = zlib.decompressobj(wbits=31)
        self._over = False
        self._last = b""
        """What is left of the line that says why nothing more can be read."""
        self.name: str = getattr(stream, "name", "")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - collections.abc.Buffer came with Python 3.12
        try:
            data = b"" if self._over else self._next(len(buffer))
        except (EOFError, zlib.error) as error:
            self._over = True
            self._last = f"\n{UNREADABLE} {error}\n".encode()
            data = b""
        if not data:
            data, self._last = self._last[: len(buffer)], self._last[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)

    def _next(self, size: int) -> bytes:
        while True:
            self._packed = self._packed or self._stream.read1(_READ)
            if self._member.eof:
                self._packed = self._packed.lstrip(b"\0") or self._stream.read1(_READ).lstrip(b"\0")  # padding
                if not self._packed:
                    self._over = True
                    return b""
                self._member = zlib.decompressobj(wbits=31)
            elif not self._packed:
                raise EOFError("the compressed data ends early")
            data = self._member.decompress(self._packed, size)
            self._packed = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if data:
                return data

    def close(self) -> None:
        self._stream.close()
        super().close()
