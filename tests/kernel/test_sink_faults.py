"""The trail on real volumes that are full, read-only or gone. Needs root, for mounting."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from enricher.trail.chain import State
from enricher.trail.file_sink import FileSink
from enricher.trail.retention import Rotation
from enricher.trail.writer import Writer
from exectrail.contracts.record import VERSION, Node, Record, decode
from exectrail.contracts.seal import seal
from exectrail.reading import segments

SIZE = 1 << 20


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "volume"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", f"size={SIZE},mode=750", "tmpfs", str(folder))
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def writer(volume: Path, tmp_path: Path) -> Iterator[Writer]:
    writer = Writer(FileSink(volume / "trail.jsonl", Rotation(max_size=200_000)), State(tmp_path / "state.json"))
    writer.start()
    yield writer
    writer.close()


def write(writer: Writer, count: int, size: int = 1000) -> None:
    for _ in range(count):
        # Random: compression must not make room.
        record = Record(
            version=VERSION, kind="exec", audit_id="a", timestamp="t", node=Node("n"), resource=None,
            reason=os.urandom(size // 2).hex(), seq=0, prev="",
        )  # fmt: skip
        assert writer.write(record)
        writer.commit()


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def check(file: Path, count: int) -> None:
    """So many records, whole, in order and chained."""
    lines = [line for stream in segments.read(file) for line in stream.read().splitlines()]
    records = [decode(line) for line in lines]
    assert [each.seq for each in records] == list(range(count))
    assert [each.prev for each in records[1:]] == [seal(line) for line in lines[:-1]]


def test_on_a_full_disk_records_wait_and_are_written_once_there_is_room(writer: Writer, volume: Path) -> None:
    ballast = volume / "ballast"
    with suppress(OSError), ballast.open("wb") as file:
        file.write(bytes(SIZE // 2))
    write(writer, 900)
    until(lambda: "No space left on device" in str(writer.wrong()))
    assert writer.unwritten > 0
    assert not writer.full
    before = writer.failures
    until(lambda: writer.failures > before)

    ballast.unlink()
    mount("-o", f"remount,size={2 * SIZE}", str(volume))
    until(lambda: writer.unwritten == 0 and writer.wrong() is None)

    check(volume / "trail.jsonl", 900)


def test_on_a_volume_that_came_back_read_only_records_wait_until_it_is_writable(writer: Writer, volume: Path) -> None:
    write(writer, 10)
    until(lambda: writer.unwritten == 0)
    # Not a remount: the kernel refuses one while a file is open for writing.
    subprocess.run(["umount", "--lazy", volume], check=True)
    mount("-t", "tmpfs", "-o", f"ro,size={SIZE},mode=750", "tmpfs", str(volume))
    until(lambda: "Read-only file system" in str(writer.wrong()))
    write(writer, 5)
    time.sleep(0.3)
    assert writer.unwritten == 5

    mount("-o", "remount,rw", str(volume))
    until(lambda: writer.unwritten == 0 and writer.wrong() is None)

    lines = (volume / "trail.jsonl").read_bytes().splitlines()
    assert [decode(line).seq for line in lines] == [10, 11, 12, 13, 14]


def test_a_read_only_volume_is_no_reason_not_to_start(volume: Path, tmp_path: Path) -> None:
    file = volume / "trail.jsonl"
    first = Writer(FileSink(file), State(tmp_path / "state.json"))
    write(first, 3)
    assert first.close() == 0
    mount("-o", "remount,ro", str(volume))

    writer = Writer(FileSink(file), State(tmp_path / "lost.json"))
    writer.start()
    write(writer, 2)
    until(lambda: "Read-only file system" in str(writer.wrong()))
    mount("-o", "remount,rw", str(volume))
    until(lambda: writer.unwritten == 0)
    writer.close()

    check(file, 5)


def test_a_volume_that_is_mounted_anew_gets_what_comes_from_then_on(writer: Writer, volume: Path) -> None:
    write(writer, 10)
    until(lambda: writer.unwritten == 0)
    subprocess.run(["umount", "--lazy", volume], check=True)
    mount("-t", "tmpfs", "-o", f"size={SIZE},mode=750", "tmpfs", str(volume))
    until((volume / "trail.jsonl").exists)
    write(writer, 5)
    until(lambda: writer.unwritten == 0)

    lines = (volume / "trail.jsonl").read_bytes().splitlines()
    assert [decode(line).seq for line in lines] == [10, 11, 12, 13, 14]
