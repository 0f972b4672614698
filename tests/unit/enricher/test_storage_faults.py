"""Whatever the storage does, in whatever order: each record is in the trail once, in order and chained."""

import contextlib
import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from enricher.trail import file_sink, folder
from enricher.trail.archive import Archive
from enricher.trail.chain import State
from enricher.trail.file_sink import FileSink
from enricher.trail.folder import Folder
from enricher.trail.retention import Rotation
from enricher.trail.writer import Writer
from exectrail.contracts.record import VERSION, Node, Record, decode, encode
from exectrail.contracts.seal import seal
from exectrail.reading import segments


class FaultyOs:
    """The module `os` of a machine whose disk can break."""

    def __init__(self) -> None:
        self.error: int | None = None
        """What every write, opening and renaming ends with."""
        self.room: int | None = None
        """How many bytes still fit."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def _check(self) -> None:
        if self.error:
            raise OSError(self.error, os.strerror(self.error))

    def write(self, fd: int, data: memoryview) -> int:
        self._check()
        if self.room is None:
            return os.write(fd, data)
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = os.write(fd, data[: self.room])
        self.room -= written
        return written

    def open(self, *args: Any, **kwargs: Any) -> int:
        self._check()
        return os.open(*args, **kwargs)

    def rename(self, *args: Any, **kwargs: Any) -> None:
        self._check()
        os.rename(*args, **kwargs)


class Storage(RuleBasedStateMachine):
    """Writes, rotations, faults, restarts and kills; `expected` are the records that have to be there."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.os = FaultyOs()
        self.patch.setattr(file_sink, "os", self.os)
        self.patch.setattr(folder, "os", self.os)
        self.patch.setattr(Archive, "start", lambda _: None)  # see `compresses`
        self.home = Path(tempfile.mkdtemp())
        self.file = self.home / "logs" / "trail.jsonl"
        self.expected: list[str] = []
        self.made = self.moved = 0
        self.start()

    def start(self) -> None:
        self.sink = FileSink(self.file, Rotation(max_size=4000), wait=0)
        self.state = State(self.home / "state" / "chain.json")
        self.writer = Writer(self.sink, self.state)

    def step(self, times: int = 1) -> None:
        """Let the writer's thread do its work, in this one, as if its waits were over."""
        for _ in range(times):
            self.writer._retry_at = self.writer._maintain_at = self.sink._rotate_from = 0.0
            self.writer._step()

    @rule(sizes=st.lists(st.integers(0, 300), min_size=1, max_size=8))
    def write(self, sizes: list[int]) -> None:
        for size in sizes:
            self.made += 1
            record = Record(
                version=VERSION, kind="exec", audit_id=str(self.made), timestamp="t", node=Node("n"), resource=None,
                reason="x" * size, seq=0, prev="",
            )  # fmt: skip
            assert self.writer.write(record)
            self.expected.append(record.audit_id)
        self.writer.commit()

    @rule(times=st.integers(1, 4))
    def work(self, times: int) -> None:
        self.step(times)

    @rule(error=st.sampled_from([errno.EIO, errno.EROFS, errno.ESTALE, errno.ENOENT, errno.EACCES]))
    def breaks(self, error: int) -> None:
        self.os.error = error

    @rule(room=st.integers(0, 2000))
    def fills_up(self, room: int) -> None:
        self.os.room = room

    @rule()
    def heals(self) -> None:
        self.os.error = self.os.room = None

    @rule(what=st.sampled_from(["the file", "the folder"]))
    def is_moved_away(self, what: str) -> None:
        path = self.file if what == "the file" else self.file.parent
        if path.exists():
            self.moved += 1
            path.rename(self.home / f"moved-{self.moved}")

    @rule()
    def compresses(self) -> None:
        with contextlib.suppress(OSError), Folder(self.file.parent) as there:
            self.sink._archive.sweep(there)

    @rule()
    def restarts(self) -> None:
        self.heals()
        assert self.writer.close() == 0
        self.start()

    @rule()
    def is_killed(self) -> None:
        """What waits is lost; what is on the disk is there, and so is a last line that only lacks its end."""
        self.heals()
        self.sink.close()
        self.state.close()
        there = len(self.records())
        left = len(self.expected) - self.writer.unwritten
        assert there in {left, left + 1}
        del self.expected[there:]
        self.start()

    def records(self) -> list[Record]:
        """All records by their numbers; a folder that was empty when it went has no trail."""
        lines: list[bytes] = []
        for place in self.home.iterdir():
            if place.name == "state":
                continue
            if place.is_file():
                lines += place.read_bytes().splitlines()
            elif any(each.suffix != ".lock" for each in place.iterdir()):
                for stream in segments.read(place / self.file.name):
                    lines += stream.read().splitlines()
        return sorted(filter(None, map(_record, lines)), key=lambda record: record.seq)

    @invariant()
    def nothing_is_taken_twice(self) -> None:
        assert self.writer.seq == len(self.expected) - 1

    def teardown(self) -> None:
        self.heals()
        try:
            self.step(3)
            assert self.writer.wrong() is None
            assert self.writer.close() == 0
            records = self.records()
            assert [record.audit_id for record in records] == self.expected
            assert [record.seq for record in records] == list(range(len(records)))
            assert [record.prev for record in records[1:]] == [seal(encode(record)) for record in records[:-1]]
        finally:
            self.patch.undo()
            shutil.rmtree(self.home)


def _record(line: bytes) -> Record | None:
    """None for the beginning of a line that was cut."""
    try:
        return decode(line)
    except msgspec.DecodeError:
        return None


TestStorage = Storage.TestCase
TestStorage.settings = settings(max_examples=100, stateful_step_count=30)
