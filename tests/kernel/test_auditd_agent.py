"""An enricher beside the real auditd: what comes by its log, also from a time without enricher. Needs root."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from exectrail.contracts.record import Record
from tests.kernel.auditd import Auditd, running_auditd
from tests.kernel.other_pod import logged_all_the_time
from tests.kernel.test_netlink import NUMBERS, UNDER_FILTER, run_under_filter
from tests.kernel.test_restart import POD, Node, until

PROFILE = {"type": "Localhost", "localhostProfile": "exectrail/process-audit.json"}


@pytest.fixture
def auditd(tmp_path: Path) -> Iterator[Auditd]:
    with running_auditd(tmp_path / "auditd", tmp_path / "audit" / "audit.log") as running:
        yield running


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A node whose container's processes are under a profile that logs."""
    made = Node(tmp_path)
    status = {"containerStatuses": [{"name": "app", "containerID": f"containerd://{made.container.folder.name}"}]}
    pod = {"metadata": {"name": "web", "namespace": "shop", "uid": POD, "resourceVersion": "2"}, "status": status}
    spec = {"containers": [{"name": "app", "image": "shop:1"}], "securityContext": {"seccompProfile": PROFILE}}
    made.appears("pods", {**pod, "spec": spec})
    yield made
    made.remove()


def runs_under_filter(node: Node, *program: str) -> int:
    """Run a program in the container under a filter that logs its execve; its pid."""
    join = 'echo 0 > "$0/cgroup.procs" && exec "$@"'
    filtered = [sys.executable, "-c", UNDER_FILTER, str(NUMBERS["execve"]), "0", *program]
    command = ["/bin/sh", "-c", join, str(node.container.folder), *filtered]
    with subprocess.Popen(command, start_new_session=True) as child:
        assert child.wait(60) == 0
    return child.pid


def by_log(node: Node, pid: int) -> list[Record]:
    return [each for each in node.records() if each.pid == pid and "auditlog" in (each.source or "")]


def test_with_the_source_auditlog_both_halves_of_an_exec_are_one_record(node: Node, auditd: Auditd) -> None:
    node.start("bpf", "--audit-source", "auditlog", "--audit-log", auditd.log)

    runs_under_filter(node, "/bin/true", "both")

    record = node.ran("/bin/true", "both")
    assert (record.kind, record.source, record.syscalls) == ("exec", "bpf+auditlog", ["execve"])


def test_an_exec_is_one_record_also_where_a_slow_auditd_holds_its_seccomp_record_up(node: Node, auditd: Auditd) -> None:
    node.start("bpf", "--audit-source", "netlink", "--audit-log", auditd.log)
    numbers = [str(number) for number in range(12)]

    # Few enough that none is dropped at our own socket, and more than auditd's takes.
    with logged_all_the_time(calls=2), auditd.stalled():
        for number in numbers:
            runs_under_filter(node, "/bin/true", number)

    calls = {number: node.ran("/bin/true", number).syscalls for number in numbers}
    assert calls == {number: ["execve"] for number in numbers}


@pytest.mark.parametrize("source", ["netlink", "auditlog"])
def test_what_was_called_while_no_enricher_ran_is_in_the_trail_once(node: Node, auditd: Auditd, source: str) -> None:
    flags = ("--audit-source", source, "--audit-log", auditd.log)
    node.start("bpf", *flags)
    runs_under_filter(node, "/bin/true", "before")
    assert node.ran("/bin/true", "before").source == f"bpf+{source}"
    until(lambda: (node.state / "source.json").exists() and '"log":{' in (node.state / "source.json").read_text())
    time.sleep(2.5)  # until that is of after the call

    node.ends()
    missed = [run_under_filter("execve", "/bin/true") for _ in range(5)]
    node.start("bpf", *flags)

    for pid in missed:
        (record,) = until(lambda pid=pid: by_log(node, pid))  # type: ignore[misc] # bound now
        assert (record.kind, record.source, record.reason) == ("syscall", "auditlog", "no-sensor")
    runs_under_filter(node, "/bin/true", "after")
    assert node.ran("/bin/true", "after").source == f"bpf+{source}"
    # Other processes of this machine may be logged as well, and some of them more than once in a millisecond.
    assert Counter(each.pid for each in node.records() if each.pid in missed) == Counter(missed)
    assert any(each.reason == "restart" for each in node.records() if each.kind == "gap")
