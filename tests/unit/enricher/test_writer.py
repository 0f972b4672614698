"""The chain, and what becomes of records while the storage does not take them."""

import errno
import io
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from enricher.trail.chain import State
from enricher.trail.file_sink import FileSink
from enricher.trail.retention import Removed, Rotation
from enricher.trail.writer import Writer
from exectrail.contracts.record import VERSION, Node, Record, decode
from exectrail.contracts.seal import GENESIS, seal
from exectrail.reading import segments
from exectrail.reading.report import Report
from exectrail.reading.trail import Source, read
from tests.unit.waiting import until


class Disk:
    """A sink that takes lines, refuses them, or does not answer."""

    def __init__(self) -> None:
        self.taken = bytearray()
        self.error: OSError | None = None
        self.answers = threading.Event()
        self.answers.set()
        self.failures = 0
        self.writes = 0

    def write(self, lines: bytearray) -> int:
        self.answers.wait()
        if self.error:
            raise self.error
        self.writes += 1
        self.taken += lines
        return len(lines)

    @property
    def lines(self) -> list[bytes]:
        return bytes(self.taken).splitlines()

    def last_lines(self) -> list[bytes]:
        return self.lines[::-1]

    def maintain(self) -> None:
        if self.error:
            raise self.error

    def wrong(self) -> str | None:
        return None

    def removed(self) -> list[Removed]:
        return []

    def close(self) -> None:
        pass


FULL = OSError(errno.ENOSPC, "No space left on device")
Start = Callable[..., Writer]


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def start(disk: Disk, tmp_path: Path) -> Iterator[Start]:
    writers: list[Writer] = []

    def start_(sink: FileSink | Disk = disk, interval: float = 0.0) -> Writer:
        writers.append(Writer(sink, State(tmp_path / "state" / "chain.json"), interval))
        writers[-1].start()
        return writers[-1]

    yield start_
    disk.error = None
    disk.answers.set()
    for writer in writers:
        writer.close()


def record(size: int = 10) -> Record:
    text = "x" * size
    return Record(
        version=VERSION, kind="exec", audit_id="a", timestamp="t", node=Node("n"), resource=None, reason=text,
        seq=0, prev="",
    )  # fmt: skip


def write(writer: Writer, count: int, size: int = 10) -> None:
    for _ in range(count):
        assert writer.write(record(size))
        writer.commit()


def check_chain(lines: list[bytes], first: int = 0) -> None:
    records = [decode(line) for line in lines]
    assert [each.seq for each in records] == list(range(first, first + len(records)))
    assert [each.prev for each in records[1:]] == [seal(line) for line in lines[:-1]]


def test_a_record_is_numbered_and_sealed_to_the_one_before(start: Start, disk: Disk) -> None:
    writer = start()
    write(writer, 3)
    assert writer.close() == 0

    check_chain(disk.lines)
    assert decode(disk.lines[0]).prev == GENESIS


def test_the_chain_goes_on_over_rotations_and_restarts(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "trail.jsonl"
    for _ in range(3):
        writer = start(FileSink(file, Rotation(max_size=1000)))
        write(writer, 20)
        assert writer.close() == 0

    lines = [line for stream in segments.read(file) for line in stream.read().splitlines()]
    assert len(lines) == 60
    check_chain(lines)


def test_after_a_kill_the_trail_is_believed_rather_than_an_older_state(
    start: Start, disk: Disk, tmp_path: Path
) -> None:
    write(first := start(), 3)
    first.close()
    (tmp_path / "state" / "chain.json").write_bytes(b'{"seq":0,"prev":"0","format":1}'.ljust(128))
    disk.taken += b'{"seq":7,"torn'

    assert start().seq == 2


def test_what_cannot_be_read_again_is_believed_from_the_state(start: Start, disk: Disk) -> None:
    write(first := start(), 3)
    first.close()
    before = disk.lines
    disk.taken.clear()
    write(second := start(), 1)
    second.close()

    check_chain([before[-1], *disk.lines], first=2)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.EPIPE])
def test_what_the_storage_refuses_waits_and_is_written_in_order(start: Start, disk: Disk, number: int) -> None:
    writer = start()
    disk.error = OSError(number, "is refused")
    write(writer, 50)
    until(lambda: writer.failures >= 2)
    assert "is refused" in str(writer.wrong())
    assert writer.unwritten == 50

    disk.error = None
    until(lambda: writer.wrong() is None)

    assert len(disk.lines) == 50
    check_chain(disk.lines)


def test_what_counts_as_written_is_there_for_the_next_one_whatever_becomes_of_the_rest(
    start: Start, disk: Disk
) -> None:
    write(writer := start(), 3)
    until(lambda: writer.written == 2)
    disk.error = FULL
    write(writer, 50)
    until(lambda: writer.failures >= 1)

    assert (writer.seq, writer.written) == (52, 2)
    assert writer.close(within=0.5) == 50
    disk.error = None
    assert (start().written, start().seq) == (2, 2)


def test_of_lines_that_are_taken_in_part_the_last_whole_one_counts_as_written(
    start: Start, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take_one(lines: bytearray) -> int:
        if len(disk.lines) == 2:
            raise FULL
        size = lines.index(b"\n") + 1
        disk.taken += lines[:size]
        return size

    monkeypatch.setattr(disk, "write", take_one)
    writer = start()
    for _ in range(5):
        assert writer.write(record())
    writer.commit()
    until(lambda: writer.failures >= 1)

    assert (writer.seq, writer.written) == (4, 1)


def test_a_storage_that_fails_while_nothing_is_written_is_reported(start: Start, disk: Disk) -> None:
    writer = start()
    disk.error = FULL
    until(writer.wrong)

    disk.error = None
    until(lambda: writer.wrong() is None)


def test_a_storage_that_does_not_answer_delays_no_caller_and_is_reported(
    start: Start, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("enricher.trail.writer._STALLED_AFTER", 0.05)
    writer = start()
    disk.answers.clear()
    began = time.monotonic()
    write(writer, 1000)
    assert time.monotonic() - began < 1
    until(lambda: "has not answered" in str(writer.wrong()))

    disk.answers.set()
    until(lambda: writer.wrong() is None)

    check_chain(disk.lines)
    assert len(disk.lines) == 1000


def test_memory_is_bounded_and_no_number_is_spent_on_what_is_not_taken(start: Start, disk: Disk) -> None:
    writer = start()
    disk.error = FULL
    taken = 0
    while writer.write(record(100_000)):
        writer.commit()
        taken += 1
    assert taken * 100_000 <= 17 << 20
    until(lambda: "No space left" in str(writer.wrong()))
    assert "takes nothing" in str(writer.wrong())
    assert not writer.write(record())

    disk.error = None
    until(lambda: not writer.full)
    write(writer, 1)
    writer.close()

    assert len(disk.lines) == taken + 1
    check_chain(disk.lines)


@pytest.mark.parametrize(
    ("evidence", "has_room"),
    [
        ({"kind": "session"}, True),
        ({"kind": "gap"}, True),
        ({"kind": "digest"}, True),
        ({"origin": "untracked"}, True),
        ({"origin": "session"}, False),
        ({"kind": "clone"}, False),
    ],
    ids=str,
)
def test_where_others_have_used_up_the_room_evidence_has_its_own(
    start: Start, disk: Disk, evidence: dict[str, Any], has_room: bool
) -> None:
    writer = start()
    disk.error = FULL
    while writer.write(record(100_000)):
        writer.commit()

    assert writer.write(msgspec.structs.replace(record(), **evidence)) is has_room


def test_the_room_of_evidence_is_bounded_too(start: Start, disk: Disk) -> None:
    writer = start()
    disk.error = FULL
    while writer.write(msgspec.structs.replace(record(100_000), kind="session")):
        writer.commit()

    assert writer.waiting_bytes < 17 << 20


def test_an_end_is_not_held_up_by_a_storage_that_takes_nothing(start: Start, disk: Disk) -> None:
    refused, stuck = start(), start()
    disk.error = FULL
    write(refused, 5)
    assert refused.close() == 5

    disk.answers.clear()
    write(stuck, 3)
    began = time.monotonic()
    assert stuck.close(within=0.1) == 3
    assert time.monotonic() - began < 1


def test_with_an_interval_lines_are_written_together_at_its_end(start: Start, disk: Disk) -> None:
    began = time.monotonic()
    writer = start(interval=0.3)
    write(writer, 100)
    until(lambda: disk.writes)
    assert time.monotonic() - began >= 0.3
    until(lambda: len(disk.lines) == 100)

    assert disk.writes <= 2


def test_an_interval_is_cut_short_by_much_that_waits_and_by_the_end(start: Start, disk: Disk) -> None:
    writer = start(interval=3600)
    write(writer, 10, size=100_000)
    until(lambda: len(disk.taken) >= 300_000)
    writer.close()

    assert len(disk.lines) == 10


def test_a_process_does_not_hide_behind_a_line_that_no_reader_takes(disk: Disk, start: Start) -> None:
    writer = start()
    hidden = record()
    hidden.argv, hidden.cmd_line = ["\x01" * 140_000], "\x01" * 140_000
    assert writer.write(hidden)
    write(writer, 1)
    until(lambda: len(disk.lines) == 2)

    found = list(read(Source("trail", lambda: io.BytesIO(bytes(disk.taken))), None, Report()))

    assert [each.seq for each in found] == [0, 1]
    assert found[0].truncated == ["cmdLine", "argv"]
    assert found[1].prev == seal(disk.lines[0] + b"\n"), "the chain is over what is written"
