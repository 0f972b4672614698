"""What netlink did not bring is read from auditd's log, and nothing is written twice."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from enricher.audit import parser
from enricher.audit.netlink import LINGER, NetlinkSource
from enricher.audit.progress import SourceState
from enricher.audit.serials import WINDOW
from enricher.events import SeccompEvent

BOOT = "3c9d3f5e-0000-4000-8000-000000000000"


def text(serial: int, wall_ms: int | None = None) -> bytes:
    stamp = time.time_ns() // 1_000_000 + 1 if wall_ms is None else wall_ms
    return (
        b"audit(%d.%03d:%d): auid=4294967295 uid=0 gid=0 ses=4294967295 pid=26255 "
        b'comm="env" exe="/bin/busybox" sig=0 arch=c000003e syscall=59 compat=0 ip=0x461857 code=0x7ffc0000'
    ) % (stamp // 1000, stamp % 1000, serial)


class Kernel:
    """The audit multicast, and the auditd that hears the same."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.overruns = self.unparsable = 0
        self.most = 1_000
        """Events of one read."""
        self._coming: list[SeccompEvent] = []
        self._drops = 0
        self._congested = False
        self.closed = False
        self.meanwhile: list[Callable[[], None]] = []
        """What happens right after a read."""

    def event(self, serial: int, *, dropped: bool = False, logged: bool = True, wall_ms: int | None = None) -> None:
        if logged:
            with self.log.open("ab") as file:
                file.write(b"type=SECCOMP msg=" + text(serial, wall_ms) + b"\n")
        if dropped:
            self._drops += 1
            self._congested = True
        else:
            self._coming.append(parser.parse(text(serial, wall_ms)))

    def read(self) -> list[SeccompEvent]:
        self.overruns += self._congested  # the kernel says it at the next read
        self._congested = False
        came, self._coming = self._coming[: self.most], self._coming[self.most :]
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return came

    @property
    def behind(self) -> bool:
        return bool(self._coming)

    def dropped(self) -> int:
        return self._drops

    def close(self) -> None:
        self.closed = True


class Rig:
    def __init__(self, folder: Path) -> None:
        self.kernel = Kernel(folder / "audit.log")
        self.checkpoint = folder.with_name("source.json")
        self.now = time.monotonic()

    def start(self, *, with_log: bool = True, written_ms: int = 0) -> NetlinkSource:
        state = SourceState(self.checkpoint, BOOT, written_ms)
        path = self.kernel.log if with_log else None
        return NetlinkSource(self.kernel, state, path, lambda _: True, lambda: True)  # type: ignore[arg-type]

    def read(self, source: NetlinkSource) -> list[tuple[int, str]]:
        return [(record.serial, record.via) for record in source.read(self.now)]

    def seconds(self, source: NetlinkSource, number: int) -> list[tuple[int, str]]:
        """Let time go by, as the agent does; what came in it."""
        found: list[tuple[int, str]] = []
        for _ in range(number):
            self.now += 1.0
            found += self.read(source)
            source.keep()
        return found


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    (folder := tmp_path / "audit").mkdir()
    rig = Rig(folder)
    rig.kernel.event(1)
    rig.kernel.read()
    return rig


def test_events_come_from_the_kernel_and_the_log_is_left_alone(rig: Rig) -> None:
    source = rig.start()
    rig.kernel.event(2)
    assert rig.seconds(source, 3) == [(2, "netlink")]
    assert source.poll_timeout() == float("inf")


def test_what_the_kernel_dropped_is_found_in_the_log_and_is_no_loss(rig: Rig) -> None:
    source = rig.start()
    rig.seconds(source, 3)
    rig.kernel.event(2)
    rig.kernel.event(3, dropped=True)
    rig.kernel.event(4, dropped=True)
    rig.kernel.event(5)

    assert rig.read(source) == [(2, "netlink"), (5, "netlink"), (3, "auditlog"), (4, "auditlog")]

    assert source.lost()["netlink-overrun"] == 0
    assert rig.seconds(source, 4) == []
    assert source.lost()["netlink-overrun"] == 0


def test_what_is_dropped_during_a_read_is_no_loss_before_the_log_was_looked_at(rig: Rig) -> None:
    source = rig.start()
    rig.seconds(source, 3)
    rig.kernel.event(2)
    rig.kernel.meanwhile.append(lambda: rig.kernel.event(3, dropped=True))

    assert rig.read(source) == [(2, "netlink")]
    assert source.lost()["netlink-overrun"] == 0
    assert rig.read(source) == [(3, "auditlog")]
    assert source.lost()["netlink-overrun"] == 0


def test_what_the_log_has_before_it_is_read_from_the_socket_makes_up_for_no_loss(rig: Rig) -> None:
    source = rig.start()
    rig.seconds(source, 3)
    rig.kernel.most = 100
    for serial in range(2, 602):
        rig.kernel.event(serial)
    for serial in range(602, 652):
        rig.kernel.event(serial, dropped=True, logged=False)

    assert len(rig.seconds(source, 10)) == 600
    assert source.lost()["netlink-overrun"] == 50


def test_what_auditd_writes_late_is_found_too(rig: Rig) -> None:
    source = rig.start()
    rig.seconds(source, 3)
    rig.kernel.event(2, dropped=True, logged=False)
    assert rig.read(source) == []
    rig.kernel.event(2, dropped=False)
    rig.kernel.read()
    rig.now += LINGER / 2
    assert rig.read(source) == [(2, "auditlog")]


def test_what_neither_has_is_lost_once_that_is_certain(rig: Rig) -> None:
    source = rig.start()
    rig.seconds(source, 3)
    rig.kernel.event(2, dropped=True)
    rig.kernel.event(3, dropped=True, logged=False)

    assert rig.read(source) == [(2, "auditlog")]
    assert source.lost()["netlink-overrun"] == 0
    rig.seconds(source, 4)
    assert source.lost()["netlink-overrun"] == 1


def test_without_a_log_each_drop_is_a_loss_at_once(rig: Rig) -> None:
    source = rig.start(with_log=False)
    rig.kernel.event(2, dropped=True)
    assert rig.read(source) == []
    assert source.lost()["netlink-overrun"] == 1


def test_a_log_that_comes_later_fills_later_gaps(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    source = rig.start()
    rig.seconds(source, 2)
    rig.kernel.event(1)
    rig.seconds(source, 3)
    rig.kernel.event(2, dropped=True)
    assert rig.read(source) == [(2, "auditlog")]


def test_an_absence_is_filled_with_what_came_in_it(rig: Rig) -> None:
    before = rig.start()
    rig.kernel.event(2)
    rig.seconds(before, 3)
    before.close(clean=True)
    rig.kernel.event(3)
    rig.kernel.event(4)
    rig.kernel.read()  # no socket listens

    after = rig.start(written_ms=time.time_ns() // 1_000_000)
    rig.kernel.event(5)

    assert rig.read(after) == [(5, "netlink"), (3, "auditlog"), (4, "auditlog")]
    assert after.lost() == {"netlink-overrun": 0, "unparsable": 0}
    assert rig.kernel.closed


@pytest.mark.parametrize("last", [1_000, 3 * WINDOW])
def test_an_absence_is_filled_however_much_happened_on_the_node_in_it(rig: Rig, last: int) -> None:
    before = rig.start()
    rig.kernel.event(2)
    rig.seconds(before, 3)
    before.close(clean=True)
    for serial in (10, 11, 12):
        rig.kernel.event(serial, wall_ms=time.time_ns() // 1_000_000 - 10)
    rig.kernel.read()

    after = rig.start()
    rig.kernel.event(last)
    rig.kernel.event(last + 1, dropped=True)

    came = rig.seconds(after, 5)
    assert sorted(came) == [
        (10, "auditlog"),
        (11, "auditlog"),
        (12, "auditlog"),
        (last, "netlink"),
        (last + 1, "auditlog"),
    ]
    assert after.lost() == {"netlink-overrun": 0, "unparsable": 0}


def test_what_came_by_the_socket_is_not_taken_from_the_log_once_more_however_much_came_after(rig: Rig) -> None:
    before = rig.start()
    rig.seconds(before, 3)
    before.close(clean=True)

    after = rig.start()
    rig.kernel.event(2)
    rig.kernel.event(2 + 3 * WINDOW)

    assert rig.seconds(after, 5) == [(2, "netlink"), (2 + 3 * WINDOW, "netlink")]


@pytest.fixture
def unreadable(rig: Rig) -> Iterator[Path]:
    """The log's folder, once it cannot be looked at: a link in its place that leads to itself."""
    folder = rig.kernel.log.parent
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.symlink_to(folder)
    yield folder
    folder.unlink()
    aside.rename(folder)


def test_a_log_that_cannot_be_looked_at_any_more_ends_nothing(rig: Rig, request: pytest.FixtureRequest) -> None:
    source = rig.start()
    rig.seconds(source, 3)
    request.getfixturevalue("unreadable")
    rig.kernel.overruns += 1

    assert rig.seconds(source, 3) == []
    assert rig.read(source) == []


def test_a_start_goes_on_where_the_log_cannot_be_looked_at(rig: Rig, request: pytest.FixtureRequest) -> None:
    before = rig.start()
    rig.seconds(before, 3)
    before.close(clean=True)
    kept = rig.checkpoint.read_bytes()
    request.getfixturevalue("unreadable")
    rig.checkpoint = rig.kernel.log.parent.with_name("kept.json")
    rig.checkpoint.write_bytes(kept)

    source = rig.start()
    assert source.poll_timeout() == float("inf")


def test_after_a_kill_nothing_that_may_be_in_the_trail_is_written_again(rig: Rig) -> None:
    before = rig.start()
    rig.kernel.event(2)
    rig.seconds(before, 3)
    died = time.time_ns() // 1_000_000
    rig.kernel.event(3, wall_ms=died)
    rig.read(before)
    rig.kernel.event(4, wall_ms=died + 1000)
    rig.kernel.read()

    after = rig.start(written_ms=died)

    assert rig.read(after) == [(4, "auditlog")]


def test_drops_while_an_absence_is_filled_are_not_offset_by_what_came_in_it(rig: Rig) -> None:
    before = rig.start()
    rig.kernel.event(2)
    rig.seconds(before, 3)
    before.close(clean=True)
    rig.kernel.event(3, wall_ms=time.time_ns() // 1_000_000 - 10)
    rig.kernel.read()

    after = rig.start()
    rig.kernel.event(4, dropped=True, logged=False)

    assert rig.seconds(after, 5) == [(3, "auditlog")]
    assert after.lost()["netlink-overrun"] == 1
