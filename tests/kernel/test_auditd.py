"""SECCOMP records through the real auditd and its log. Needs root in the initial namespaces."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from enricher.audit.auditlog import AuditLogSource
from enricher.audit.kernel_lost import KernelLost
from enricher.audit.netlink import NetlinkSource
from enricher.audit.netlink_socket import AuditSource, SourceUnavailable
from enricher.audit.own_name import ours
from enricher.audit.progress import SourceState
from enricher.audit.source import Source
from enricher.events import SeccompEvent
from tests.kernel.auditd import Auditd, running_auditd
from tests.kernel.test_netlink import AUDIT_USER_AVC, FORGED, TEXT, message, run_under_filter

WITHIN = 10.0
HOLD = 0.5
"""The default of `logs.holdMs`, in seconds."""


class Follower:
    """One source after the other, with a checkpoint between them."""

    def __init__(self, folder: Path, auditd: Auditd) -> None:
        self._checkpoint, self._log = folder / "source.json", auditd.log
        self._ours = ours("node1", socket.gethostname())

    def auditlog(self) -> AuditLogSource:
        return AuditLogSource.open(self._log, self._state(), self._ours, lambda: True, wait=False)

    def netlink(self, receive_buffer: int = 1 << 20) -> NetlinkSource:
        audit = AuditSource.open(receive_buffer)
        return NetlinkSource(audit, self._state(), self._log, self._ours, lambda: True)

    def _state(self) -> SourceState:
        return SourceState(self._checkpoint, "boot", 0)


@pytest.fixture
def auditd(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Auditd]:
    with running_auditd(tmp_path / "auditd", tmp_path / "audit" / "audit.log", **getattr(request, "param", {})) as made:
        yield made


@pytest.fixture
def follower(tmp_path: Path, auditd: Auditd) -> Follower:
    return Follower(tmp_path, auditd)


def read(source: Source, pid: int, number: int) -> list[SeccompEvent]:
    """What arrives of a process, until there are so many, and a moment longer."""
    found: list[SeccompEvent] = []
    until = time.monotonic() + WITHIN
    while len(found) < number and time.monotonic() < until:
        found += [record for record in source.read(time.monotonic()) if record.pid == pid]
        time.sleep(0.01)
    return found + [record for record in source.read(time.monotonic()) if record.pid == pid]


@pytest.mark.parametrize(
    "auditd",
    [{}, {"log_format": "RAW"}, {"name_format": "HOSTNAME"}, {"name_format": "NUMERIC", "log_format": "RAW"}],
    ids=["enriched", "raw", "with the node's name", "with the node's address"],
    indirect=True,
)
def test_auditds_log_has_what_the_kernel_says_in_every_format(follower: Follower, auditd: Auditd) -> None:
    with AuditSource.open(1 << 20) as kernel:
        source = follower.auditlog()
        pid = run_under_filter("execve", "/bin/true")
        (logged,) = read(source, pid, 1)
        (said,) = [record for record in kernel.read() if record.pid == pid]
    assert logged.via == "auditlog"
    assert (logged.serial, logged.time, logged.exe, logged.code) == (said.serial, said.time, said.exe, said.code)


def test_a_record_is_in_the_log_within_the_hold_time(follower: Follower, auditd: Auditd) -> None:
    source = follower.auditlog()
    for _ in range(5):
        (record,) = read(source, run_under_filter("execve", "/bin/true"), 1)
        assert time.time() - record.time / 1000 < HOLD


def test_nothing_is_missing_and_nothing_twice_while_auditd_rotates(follower: Follower, auditd: Auditd) -> None:
    source = follower.auditlog()
    found: list[SeccompEvent] = []
    for _ in range(3):
        pid = run_under_filter("getppid", calls=200)
        found += read(source, pid, 100)
        auditd.rotate()
        found += read(source, pid, 200 - len([record for record in found if record.pid == pid]))
    assert len(found) == len({record.serial for record in found}) == 600


def test_an_absence_over_two_rotations_leaves_nothing_out(follower: Follower, auditd: Auditd) -> None:
    before = follower.auditlog()
    first = run_under_filter("getppid", calls=10)
    assert len(read(before, first, 10)) == 10
    before.close(clean=True)
    auditd.rotate()
    pid = run_under_filter("getppid", calls=50)
    auditd.rotate()

    after = follower.auditlog()

    assert len(read(after, pid, 50)) == 50
    assert after.gaps() == []


def test_a_program_cannot_write_a_record_into_the_log(follower: Follower, auditd: Auditd) -> None:
    # CAP_AUDIT_WRITE is enough, which containers have by default; and the kernel passes newlines on.
    source = follower.auditlog()
    forged = b"x'\ntype=SECCOMP msg=" + TEXT + b"\n"
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9) as user:
        user.sendto(message(AUDIT_USER_AVC, forged + b"\0", 1), (0, 0))
    pid = run_under_filter("execve", "/bin/true")
    arrived: list[SeccompEvent] = []
    until = time.monotonic() + WITHIN
    while not any(record.pid == pid for record in arrived) and time.monotonic() < until:
        arrived += source.read(0.0)
        time.sleep(0.01)
    assert str(FORGED).encode() in auditd.log.read_bytes()
    assert arrived
    assert FORGED not in {record.serial for record in arrived}


def test_what_netlink_dropped_is_in_auditds_log(follower: Follower, auditd: Auditd) -> None:
    source = follower.netlink(receive_buffer=16384)
    for _ in range(2):  # a second and the next
        source.keep()
    calls = 300
    pid = run_under_filter("getppid", calls=calls)

    found = read(source, pid, calls)

    assert len(found) == len({record.serial for record in found}) == calls
    assert {record.via for record in found} == {"netlink", "auditlog"}
    for _ in range(30):
        time.sleep(0.1)
        source.read(time.monotonic())
    assert source.lost()["netlink-overrun"] == 0
    source.close(clean=True)


def test_an_auditd_that_is_stopped_and_started_is_followed(follower: Follower, auditd: Auditd) -> None:
    source = follower.auditlog()
    first = run_under_filter("execve", "/bin/true")
    assert len(read(source, first, 1)) == 1
    auditd.stop()
    assert source.read(0.0) == []
    auditd.start()
    second = run_under_filter("execve", "/bin/true")
    assert len(read(source, second, 1)) == 1


def test_the_kernel_says_how_much_it_lost_to_who_may_ask() -> None:
    kernel = KernelLost.open()
    kernel.tick(time.monotonic())
    assert kernel.lost == 0
    kernel.close()


def test_without_audit_control_the_remedy_is_named() -> None:
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        try:
            KernelLost.open()
        except SourceUnavailable as error:
            os._exit(0 if "CAP_AUDIT_CONTROL" in str(error) else 1)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
