"""Where the trail goes: a file on the node or on a volume, or standard output."""

import contextlib
import os
from pathlib import Path
from typing import Protocol

_MODE = 0o640
_TAIL = 1 << 20


class Sink(Protocol):
    """Takes bytes of the trail."""

    def write(self, data: bytes | bytearray) -> int:
        """Take as much as fits; returns how many bytes.

        Raises:
            OSError: Nothing could be written now.

        """

    def last_line(self) -> bytes | None:
        """The last line that is there already, where it can be read again."""

    def follow(self) -> None:
        """Go on elsewhere where the trail was moved away."""

    def close(self) -> None:
        """Hand everything to the disk."""


class FileSink:
    """Appends to a file, which only its group may read; follows when somebody moves the file away.

    Args:
        path: The file; its folder is made where it is missing.

    Raises:
        OSError: The file cannot be opened, or is a symbolic link.

    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        # The kubelet makes a hostPath folder for root alone; a folder of somebody else is left as it is.
        with contextlib.suppress(PermissionError):
            os.chown(path.parent, -1, os.getegid())
            path.parent.chmod(0o750)
        self._fd = self._open()
        self._end_torn_line()

    def _end_torn_line(self) -> None:
        """A write that was cut short must not swallow the next record."""
        with self._path.open("rb") as file:
            if file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                os.write(self._fd, b"\n")

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self._path, flags, _MODE)

    def write(self, data: bytes | bytearray) -> int:
        """Append."""
        return os.write(self._fd, data)

    def last_line(self) -> bytes | None:
        """The last complete line of the file."""
        with self._path.open("rb") as file:
            file.seek(max(0, os.fstat(self._fd).st_size - _TAIL))
            lines = file.read().split(b"\n")[:-1]
        return lines[-1] if lines else None

    def follow(self) -> None:
        """Open the file anew where its name no longer leads to it: log rotation moves files."""
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(self._path.stat(), os.fstat(self._fd)):
                return
        fresh = self._open()
        os.close(self._fd)
        self._fd = fresh

    def close(self) -> None:
        """Sync and close."""
        os.fsync(self._fd)
        os.close(self._fd)


class StdoutSink:
    """Writes to standard output, which carries nothing else."""

    def write(self, data: bytes | bytearray) -> int:
        """Write."""
        return os.write(1, data)

    def last_line(self) -> bytes | None:
        """Nothing: what went out cannot be read again."""
        return None

    def follow(self) -> None:
        """Nothing to follow."""

    def close(self) -> None:
        """Nothing to close."""
