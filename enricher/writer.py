"""The writer: gives each record its place in the node's trail and hands the lines to the sink.

Place means `seq` and `prev` (see `exectrail.seal`). The chain goes on over restarts: its end is kept in a state file
apart from the trail, and where the trail can be read again its last line is believed rather than an older state.
"""

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from enricher.sink import Sink
from exectrail.record import Record, encode
from exectrail.seal import GENESIS, seal

_STATE_SIZE = 128
_MOST = 16 << 20


class End(Struct, frozen=True):
    """The end of a chain: the last record's number, and its line's seal."""

    seq: int = -1
    prev: str = GENESIS


class State:
    """The chain's end on disk, overwritten in place: one small write is whole or absent when a process is killed.

    Raises:
        OSError: The file cannot be opened.

    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def load(self) -> End:
        """What was saved last; the start of a chain where nothing readable is there."""
        try:
            return msgspec.json.decode(os.pread(self._fd, _STATE_SIZE, 0), type=End)
        except msgspec.MsgspecError:
            return End()

    def save(self, end: End) -> None:
        """Keep the end of the chain."""
        os.pwrite(self._fd, msgspec.json.encode(end).ljust(_STATE_SIZE), 0)

    def close(self) -> None:
        """Hand it to the disk."""
        os.fsync(self._fd)
        os.close(self._fd)


class Writer:
    """Seals records and writes them in order; keeps what the sink cannot take now, up to 16 MiB."""

    def __init__(self, sink: Sink, state: State) -> None:
        self.failures = 0
        """Writes that the sink refused."""
        self._sink, self._state = sink, state
        self._end = _latest(state.load(), sink.last_line())
        self._pending = bytearray()

    @property
    def seq(self) -> int:
        """The number of the last record; -1 before the first."""
        return self._end.seq

    @property
    def full(self) -> bool:
        """Whether no more can be kept: what comes now is lost."""
        return len(self._pending) >= _MOST

    def write(self, record: Record) -> bool:
        """Seal a record and take it for the next `commit`; false, and nothing is taken, while all room is used."""
        if self.full:
            return False
        record.seq, record.prev = self._end.seq + 1, self._end.prev
        line = encode(record)
        self._end = End(record.seq, seal(line))
        self._pending += line
        return True

    def commit(self) -> None:
        """Hand over all that was taken."""
        if not self._pending:
            return
        try:
            while self._pending:
                del self._pending[: self._sink.write(self._pending)]
        except OSError:
            self.failures += 1
            return
        self._state.save(self._end)

    def follow(self) -> None:
        """Go on in a new file where somebody moved the trail away."""
        try:
            self._sink.follow()
        except OSError:
            self.failures += 1

    def close(self) -> None:
        """Write what is left."""
        self.commit()
        self._sink.close()
        self._state.close()


def _latest(saved: End, last_line: bytes | None) -> End:
    """The chain's end: a process killed between a write and its state's save leaves the trail ahead of the state."""
    if last_line is None:
        return saved
    try:
        seq = msgspec.json.decode(last_line, type=End).seq
    except msgspec.MsgspecError:
        return saved
    return End(seq, seal(last_line)) if seq > saved.seq else saved
