"""State files that are whole at every moment: a process that is killed leaves the old content or the new one.

They hold JSON with the number of its format, and only their owner may read them. Writes are not synced: what a crash
of the node leaves may be older.
"""

import os
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from exectrail.contracts.unreadable import UNREADABLE

_FLAGS = os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o600

T = TypeVar("T")


class Unusable(Exception):
    """A state file that cannot be used; `cause` is the reason that a `gap` gives for it."""

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause


class _Head(Struct):
    format: int


def read(path: Path, called: str) -> bytes | None:
    """The content of a file that is `called` so; None where there is none.

    Raises:
        Unusable: It cannot be read.

    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unusable("checkpoint-unreadable", f"{called} cannot be read: {error}") from error


def decode(data: bytes, kind: type[T], known: int, called: str) -> T:
    """Read what is `called` so, in the format that is known.

    Raises:
        Unusable: It is cut, damaged, or of another format.

    """
    try:
        if (found := msgspec.json.decode(data, type=_Head).format) != known:
            raise Unusable("checkpoint-format", f"{called} has format {found}, and this enricher reads {known}")
        return msgspec.json.decode(data, type=kind)
    except UNREADABLE as error:
        raise Unusable("checkpoint-unreadable", f"{called} cannot be read: {error}") from error


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
    """A file of at most `size` bytes that is overwritten in place: one small write is whole or absent after a kill.

    Raises:
        OSError: It, or its folder, cannot be made or opened.

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
