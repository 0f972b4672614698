"""The source `auditlog`: what it reads after which start, and what it says of what may be missing."""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from enricher.audit import auditlog
from enricher.audit.auditlog import AuditLogSource
from enricher.audit.checkpoint import FORMAT
from enricher.audit.netlink_socket import SourceUnavailable
from enricher.audit.progress import SourceState

BOOT = "3c9d3f5e-0000-4000-8000-000000000000"
NOW_MS = time.time_ns() // 1_000_000


def line(serial: int, wall_ms: int = NOW_MS) -> bytes:
    return (
        b"type=SECCOMP msg=audit(%d.%03d:%d): auid=4294967295 uid=0 gid=0 ses=4294967295 pid=26255 "
        b'comm="env" exe="/bin/busybox" sig=0 arch=c000003e syscall=59 compat=0 ip=0x461857 code=0x7ffc0000\n'
    ) % (wall_ms // 1000, wall_ms % 1000, serial)


class Node:
    """A log, and one enricher after the other that follows it."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "audit.log"
        self.checkpoint = folder / "state" / "source.json"
        self.checkpoint.parent.mkdir()
        self.log.write_bytes(b"")
        self.ready = True

    def start(self, *, boot: str = BOOT, written_ms: int = 0) -> AuditLogSource:
        state = SourceState(self.checkpoint, boot, written_ms)
        return AuditLogSource.open(self.log, state, lambda _: True, lambda: self.ready, wait=False)

    def write(self, *serials: int, wall_ms: int = NOW_MS) -> None:
        with self.log.open("ab") as file:
            file.writelines(line(serial, wall_ms) for serial in serials)

    def rotate(self) -> None:
        self.log.rename(f"{self.log}.1")
        self.log.write_bytes(b"")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def serials(source: AuditLogSource) -> list[int]:
    return [record.serial for record in source.read(0.0)]


def test_a_first_start_reads_from_the_end_on_and_misses_nothing(node: Node) -> None:
    node.write(1, 2)
    source = node.start()
    node.write(3)
    assert serials(source) == [3]
    assert source.gaps() == []


def test_one_event_counts_once_also_if_the_log_has_it_twice(node: Node) -> None:
    source = node.start()
    node.write(1, 2, 1, 2, 3)
    assert serials(source) == [1, 2, 3]


def test_nothing_is_read_before_it_is_known_what_is_recorded(node: Node) -> None:
    node.ready = False
    source = node.start()
    node.write(1)
    assert serials(source) == []
    node.ready = True
    assert serials(source) == [1]


def test_a_log_is_not_left_alone_for_ever(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("enricher.audit.log_tail._UNREADY", 0.0)
    node.ready = False
    source = node.start()
    node.write(1)
    assert serials(source) == [1]


def test_after_an_orderly_end_the_next_one_goes_on_where_it_was(node: Node) -> None:
    first = node.start()
    node.write(1, 2)
    serials(first)
    first.close(clean=True)
    node.write(3)
    node.rotate()
    node.write(4)

    second = node.start(written_ms=NOW_MS + 5)

    assert serials(second) == [3, 4]
    assert second.gaps() == []


def test_after_a_kill_what_may_be_in_the_trail_is_not_written_again_and_the_rest_is(node: Node) -> None:
    first = node.start()
    node.write(1)
    serials(first)
    first.keep()
    died = time.time_ns() // 1_000_000
    node.write(2, wall_ms=died)
    node.write(3, wall_ms=died + 1000)

    second = node.start(written_ms=died)

    assert serials(second) == [3]


def test_a_clock_that_was_set_back_loses_nothing(node: Node) -> None:
    first = node.start()
    node.write(1)
    assert serials(first) == [1]
    node.write(2, wall_ms=NOW_MS - 3_600_000)
    assert serials(first) == [2]
    first.keep()
    node.write(3, wall_ms=NOW_MS - 3_500_000)

    second = node.start(written_ms=NOW_MS)

    assert serials(second) == [3]


def replaced_by(data: bytes) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        path.write_bytes(data)

    return replace


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


@pytest.mark.parametrize(
    ("harm", "boot", "reason"),
    [
        (cut, BOOT, "checkpoint-unreadable"),
        (replaced_by(b""), BOOT, "checkpoint-unreadable"),
        (replaced_by(b"\xff\xfe\0"), BOOT, "checkpoint-unreadable"),
        (replaced_by(b'{"format":1}'), BOOT, "checkpoint-unreadable"),
        (replaced_by(b'{"format":%d,"more":[]}' % (FORMAT + 1)), BOOT, "checkpoint-format"),
        (lambda _: None, "another-boot", "checkpoint-boot"),
    ],
    ids=["cut", "empty", "not text", "incomplete", "of a later version", "of another boot"],
)
def test_a_checkpoint_that_cannot_be_used_is_a_gap_and_reading_begins_at_the_end(
    node: Node, harm: Callable[[Path], None], boot: str, reason: str
) -> None:
    first = node.start()
    node.write(1)
    serials(first)
    first.keep()
    harm(node.checkpoint)
    node.write(2)

    second = node.start(boot=boot)
    node.write(3)

    assert serials(second) == [3]
    assert (second.gaps(), second.gaps()) == ([reason], [])


def test_a_log_that_was_rotated_away_is_a_gap_and_what_is_left_is_read(node: Node) -> None:
    first = node.start()
    node.write(1, 2)
    serials(first)
    first.close(clean=True)
    node.log.write_bytes(b"x" * 5000 + b"\n")
    node.write(2, 7)

    second = node.start()

    assert serials(second) == [7]
    assert second.gaps() == ["audit-log-rotated-away"]


def test_the_loop_comes_back_at_once_while_there_is_a_backlog_and_memory_stays_flat(node: Node) -> None:
    source = node.start()
    node.write(*range(1, 20_001))
    found: list[int] = []
    while (batch := serials(source)) or source.poll_timeout() == 0.0:
        assert len(batch) < 2_000
        found += batch
    assert found == list(range(1, 20_001))
    assert source.poll_timeout() == auditlog.POLL


def test_a_line_of_a_megabyte_is_counted_and_the_reader_goes_on(node: Node) -> None:
    source = node.start()
    with node.log.open("ab") as file:
        file.write(b"type=SECCOMP msg=" + b"x" * (1 << 20) + b"\n")
    node.write(1)
    assert serials(source) == [1]
    assert source.lost() == {"unparsable": 1}


def test_a_log_that_cannot_be_read_for_a_while_is_said_once_and_tried_again(
    node: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = node.start()
    node.write(1)

    def fails(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr("enricher.audit.follower.os.pread", fails)
        assert serials(source) == serials(source) == []
    assert caplog.text.count("Input/output error") == 1
    assert serials(source) == [1]


def test_a_checkpoint_that_cannot_be_written_is_said_once_and_stops_nothing(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    source = node.start()
    node.checkpoint.parent.rmdir()
    node.write(1)
    assert serials(source) == [1]
    source.keep()
    source.keep()
    assert caplog.text.count("no checkpoint") == 1


def test_without_a_log_the_reason_is_named(tmp_path: Path) -> None:
    state = SourceState(tmp_path / "source.json", BOOT, 0)
    none = tmp_path / "audit" / "audit.log"
    with pytest.raises(SourceUnavailable, match="is auditd on this node"):
        AuditLogSource.open(none, state, lambda _: True, lambda: True, wait=True)


def test_where_the_logs_folder_cannot_be_listed_the_reason_is_named(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be followed over a rotation then."""
    node.start().close(clean=True)

    def refuse(folder: Path) -> list[str]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    monkeypatch.setattr(os, "listdir", refuse)

    with pytest.raises(SourceUnavailable, match=f"auditd's log: {node.log.parent}: Permission denied"):
        node.start()


def test_an_auditd_that_is_started_later_is_waited_for_where_that_was_asked(tmp_path: Path) -> None:
    state = SourceState(tmp_path / "source.json", BOOT, 0)
    log = tmp_path / "audit.log"
    source = AuditLogSource.open(log, state, lambda _: True, lambda: True, wait=True)
    assert serials(source) == []
    log.write_bytes(line(1))
    assert serials(source) == [1]
