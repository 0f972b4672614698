"""The end of a node's chain of records (`exectrail.contracts.seal`), kept in a file apart from the trail."""

from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from exectrail.contracts.seal import GENESIS, seal
from exectrail.contracts.unreadable import UNREADABLE
from exectrail.service.atomic_file import SmallFile, Unusable, decode

_STATE_SIZE = 128
_FORMAT = 1


class End(Struct, frozen=True):
    """The end of a chain: the last record's number, and its line's seal."""

    seq: int = -1
    prev: str = GENESIS


class _Line(Struct):
    seq: int


class _Saved(Struct):
    seq: int
    prev: str
    format: int = _FORMAT


class State:
    """The chain's end on disk.

    Raises:
        OSError: The file cannot be opened.

    """

    def __init__(self, path: Path) -> None:
        self._file = SmallFile(path, _STATE_SIZE)
        self.unreadable = False
        """Whether there was something that could not be read: the trail itself may still have the chain's end."""

    def load(self) -> End:
        """What was saved last; the start of a chain where nothing readable is there."""
        data = self._file.read()
        try:
            saved = decode(data, _Saved, _FORMAT, "the end of the chain")
        except Unusable:
            self.unreadable = bool(data)
            return End()
        return End(saved.seq, saved.prev)

    def save(self, end: End) -> None:
        """Save the end of the chain.

        Raises:
            OSError: It cannot be written.

        """
        self._file.write(msgspec.json.encode(_Saved(end.seq, end.prev)))

    def close(self) -> None:
        """Hand it to the disk."""
        self._file.close()


def end_of(line: bytes) -> End:
    """The chain's end where this line is its last.

    Raises:
        msgspec.MsgspecError: It is no record.

    """
    return End(msgspec.json.decode(line, type=_Line).seq, seal(line))


def latest(saved: End, lines: Iterable[bytes]) -> End:
    """The chain's end: a process killed between a write and its state's save leaves the trail ahead of the state.

    Args:
        saved: The state.
        lines: The trail's last lines, the newest first; what is no record, as a line that a crash cut, is passed over.

    """
    for line in lines:
        try:
            end = end_of(line)
        except UNREADABLE:
            continue
        return end if end.seq > saved.seq else saved
    return saved
