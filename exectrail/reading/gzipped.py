"""Reading what may be compressed: recognised by its first bytes (RFC 1952), and read as far as it is whole."""

import gzip
import io
import zlib
from typing import IO, Any

_MAGIC = b"\x1f\x8b"


def unpacked(stream: IO[bytes]) -> IO[bytes]:
    """The stream itself, or what is compressed in it.

    Compressed data that is cut or damaged ends in a line that says so and is no record of a trail: readers count it
    as damage, like any other line that is none, and have everything before it.
    """
    if isinstance(stream, io.BufferedReader) and stream.peek(len(_MAGIC))[: len(_MAGIC)] == _MAGIC:
        return io.BufferedReader(_Unpacked(stream))
    return stream


class _Unpacked(io.RawIOBase):
    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream = stream
        self._gzip = gzip.GzipFile(fileobj=stream)
        self._over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - collections.abc.Buffer came with Python 3.12
        if self._over:
            return 0
        try:
            data = self._gzip.read1(len(buffer))  # not `readinto`, which drops what it has when an error follows
            buffer[: len(data)] = data
            return len(data)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self._over = True
            note = f"\nunreadable from here on: {error}\n".encode()[: len(buffer)]
            buffer[: len(note)] = note
            return len(note)

    def close(self) -> None:
        self._gzip.close()
        self._stream.close()
        super().close()
