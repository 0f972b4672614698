"""How long a record takes to the disk while segments are closed and compressed."""

import random
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure, at_most
from bench.pipeline import recorded
from enricher.trail.chain import State
from enricher.trail.file_sink import FileSink
from enricher.trail.retention import MB, Rotation
from enricher.trail.writer import Writer

_RATE, _SECONDS = 3_000, 5
_ROUNDS = 3
_TURN = 0.01
"""Seconds between two commits: how long the agent lets events gather."""


def figures() -> Iterator[Figure]:
    """The delay with one file for all, and with segments; the bound is for what segments add."""
    # The best of some rounds, side by side: in the others, somebody else had the disk or the processors.
    rounds = [(_delays(Rotation(max_size=1024 * MB)), _delays(Rotation(max_size=4 * MB))) for _ in range(_ROUNDS)]
    (whole, _), (cut, closed) = (min(runs) for runs in zip(*rounds, strict=True))
    how = f"{_RATE} records/s for {_SECONDS} s; {closed} segments of 4 MB closed and compressed meanwhile"
    yield at_most(5, "rotation-delay-p99", cut, "ms", f"{how}; from commit to written")
    yield at_most(5, "rotation-delay-p99-added", cut - whole, "ms", f"{how}; more than without")


class _Timed(FileSink):
    """A file that notes how long each line took to it."""

    def __init__(self, path: Path, rotation: Rotation) -> None:
        super().__init__(path, rotation)
        self.committed: deque[float] = deque()
        self.delays: list[float] = []

    def write(self, lines: bytearray) -> int:
        """Write, and note."""
        done = super().write(lines)
        now = time.perf_counter()
        self.delays += (now - self.committed.popleft() for _ in range(lines.count(b"\n", 0, done)))
        return done


def _delays(rotation: Rotation) -> tuple[float, int]:
    """The 99th percentile, in milliseconds, and how many segments were closed."""
    # Below the repository: /tmp may be memory.
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        sink = _Timed(folder / "trail.jsonl", rotation)
        writer = Writer(sink, State(folder / "state.json"))
        writer.start()
        _load(writer, sink)
        if writer.close() or len(sink.delays) != _RATE * _SECONDS:
            raise RuntimeError("records are missing")
        closed = len(list(folder.glob("trail-*")))
    return sorted(sink.delays)[int(len(sink.delays) * 0.99)] * 1000, closed


def _load(writer: Writer, sink: _Timed) -> None:
    records, done, begun = recorded(), 0, time.perf_counter()
    while done < _RATE * _SECONDS:
        due = min(_RATE * _SECONDS, int((time.perf_counter() - begun) * _RATE))
        for number in range(done, due):
            record = records[number % len(records)]
            record.audit_id = f"{random.getrandbits(128):032x}"
            writer.write(record)
        sink.committed.extend([time.perf_counter()] * (due - done))
        writer.commit()
        done = due
        time.sleep(_TURN)
