"""State files that are whole at every moment: a process that is killed leaves the old content or the new one.

They hold JSON with the number of its format, and only their owner may read them. Writes are not synced: what a crash
of the node leaves may be older.
"""

import os
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

_FLAGS = os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o600

T = TypeVar("T")


class OtherFormat(Exception):
    """The content has a format that is not known here; `found` is its number."""

    def __init__(self, found: int, known: int) -> None:
        super().__init__(f"format {found}, where {known} is known")
        self.found = found


class _Head(Struct):
    format: int


def decode(data: bytes, kind: type[T], known: int) -> T:
    """Read JSON of the format that is known.

    Raises:
        OtherFormat: It has another one.
        msgspec.MsgspecError, ValueError, RecursionError: It is cut or damaged (`exectrail.contracts.unreadable`).

    """
    if (found := msgspec.json.decode(data, type=_Head).format) != known:
        raise OtherFormat(found, known)
    return msgspec.json.decode(data, type=kind)


def replace(path: Path, data: bytes) -> None:
    """Write a file beside this one, which then takes its name.

    Raises:
        OSError: It cannot be written.

    """
    part = path.with_name(f"{path.name}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_TRUNC | _FLAGS, _MODE), "wb") as file:
        file.write(data)
    part.rename(path)


class SmallFile:
    """A file that is overwritten in place, often: one small write is whole or absent when a process is killed.

    Args:
        path: Its folder is made where there is none.
        size: The most bytes that its content ever takes.

    Raises:
        OSError: It cannot be opened.

    """

    def __init__(self, path: Path, size: int) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fd, self._size = os.open(path, os.O_RDWR | _FLAGS, _MODE), size

    def read(self) -> bytes:
        """What was written last; nothing where nothing ever was."""
        return os.pread(self._fd, self._size, 0)

    def write(self, data: bytes) -> None:
        """Overwrite the content.

        Raises:
            OSError: It cannot be written.

        """
        os.pwrite(self._fd, data.ljust(self._size), 0)

    def close(self) -> None:
        """Hand it to the disk."""
        os.fsync(self._fd)
        os.close(self._fd)
