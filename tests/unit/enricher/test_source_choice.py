"""Which audit source is used, and that the reason is reported."""

import argparse
import errno
import socket
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import pytest

from enricher import pid_namespace
from enricher.audit.choice import choose
from enricher.audit.kernel_lost import EVERY, KernelLost
from enricher.audit.netlink_socket import SourceUnavailable
from enricher.audit.progress import SourceState
from enricher.audit.source import Source
from enricher.clock import Clock
from enricher.config import SENSORS, choose_source
from enricher.sensors.unavailable import SensorUnavailable


class Opened:
    def __init__(self, name: str) -> None:
        self.name = name


def makers(**missing: str) -> Mapping[str, Callable[[], Source]]:
    def make(name: str) -> Source:
        if name in missing:
            raise SourceUnavailable(missing[name])
        return cast("Source", Opened(name))

    return {name: lambda name=name: make(name) for name in ("netlink", "auditlog")}  # type: ignore[misc] # bound now


@pytest.mark.parametrize(
    ("asked", "missing", "name", "reason"),
    [
        ("auto", {}, "netlink", "the best source"),
        ("auto", {"netlink": "it needs CAP_AUDIT_READ"}, "auditlog", "it needs CAP_AUDIT_READ"),
        ("auto", {"netlink": "no audit", "auditlog": "no log"}, "none", "no audit; no log"),
        ("auditlog", {}, "auditlog", "chosen by --audit-source=auditlog"),
        ("netlink", {}, "netlink", "chosen by --audit-source=netlink"),
        ("none", {}, "none", "disabled by --audit-source=none"),
    ],
)
def test_the_best_source_that_can_be_had_is_used_unless_one_is_named(
    asked: str, missing: dict[str, str], name: str, reason: str
) -> None:
    chosen = choose(asked, makers(**missing))
    assert (chosen.name, chosen.reason) == (name, reason)


def test_a_source_that_is_named_and_cannot_be_had_stops_the_start() -> None:
    with pytest.raises(SourceUnavailable, match="no log"):
        choose("auditlog", makers(auditlog="no log"))


class Answers:
    """An audit socket; the kernel's answers come one for each question, from a thread of its own."""

    def __init__(self, *answers: bytes, port: int = 0) -> None:
        self._answers, self._port = list(answers), port
        self.asked = 0
        self._ready: list[bytes] = []

    def sendto(self, data: bytes, _address: tuple[int, int]) -> None:
        assert struct.unpack("=IHHII", data)[1] == 1000
        self.asked += 1
        self._ready += self._answers[:1]
        del self._answers[:1]

    def recvfrom(self, _size: int) -> tuple[bytes, tuple[int, int]]:
        if not self._ready:
            raise BlockingIOError
        return self._ready.pop(0), (self._port, 0)


def status(lost: int) -> bytes:
    body = struct.pack("=10I", 0, 0, 1, 0, 0, 64, lost, 0, 0, 0)
    return struct.pack("=IHHII", 16 + len(body), 1000, 0, 1, 0) + body


def counted(socket_: Answers, questions: int) -> int:
    kernel = KernelLost(cast("socket.socket", socket_))
    for number in range(questions):
        kernel.tick(number * EVERY)
    return kernel.lost


@pytest.mark.parametrize(
    ("answers", "lost"),
    [((7,), 0), ((7, 7), 0), ((7, 9, 12), 5), ((7, 9, 2, 3), 5)],
    ids=["the first one counts nothing", "nothing lost", "lost", "it was set to 0"],
)
def test_the_kernels_losses_count_from_the_start_on(answers: tuple[int, ...], lost: int) -> None:
    assert counted(Answers(*map(status, answers)), len(answers) + 1) == lost


def test_what_others_send_and_what_is_no_answer_counts_nothing() -> None:
    assert counted(Answers(status(1), status(900), port=4242), 3) == 0
    assert counted(Answers(status(1), b"short", struct.pack("=IHHIIi", 20, 2, 0, 1, 0, 0)), 4) == 0


def test_the_kernel_is_asked_each_few_seconds_only() -> None:
    answers = Answers()
    kernel = KernelLost(cast("socket.socket", answers))
    for second in range(11):
        kernel.tick(float(second))
    assert answers.asked == 3


def test_a_kernel_that_refuses_later_counts_nothing_and_stops_nothing() -> None:
    refused = struct.pack("=IHHIIi", 20, 2, 0, 1, 0, -errno.EPERM)
    assert counted(Answers(status(1), refused, status(3)), 4) == 2


@pytest.mark.parametrize("asked", ["auto", "netlink", "auditlog"])
def test_a_node_that_is_a_container_has_no_audit_source_and_says_why(
    asked: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Audit would give the machine's pids there, which are other processes' on the node."""
    monkeypatch.setattr(pid_namespace, "own", lambda: 4026532500)
    args = argparse.Namespace(
        audit_source=asked, audit_log=tmp_path / "audit.log", node="kind-worker", receive_buffer=1 << 20
    )
    args.audit_log.touch()
    try:
        reason = choose_source(args, SourceState(tmp_path / "source.json", "boot", 0), lambda: True).reason
    except SourceUnavailable as error:
        reason = str(error)

    sources = {"netlink": "audit netlink", "auditlog": "auditd's log"}
    expected = [sources[asked]] if asked in sources else list(sources.values())
    assert [said.split(": ")[0] for said in reason.split("; ")] == expected
    assert reason.count("this node is itself a container") == len(expected)


def test_a_node_that_is_a_container_has_no_proc_connector(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pid_namespace, "own", lambda: 4026532500)
    args = argparse.Namespace(cgroup_root=tmp_path, receive_buffer=1 << 20)

    with pytest.raises(SensorUnavailable, match="this node is itself a container"):
        SENSORS["procconn"](args, Clock(), None)
