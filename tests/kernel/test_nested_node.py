"""A node that is a container of the machine, as with kind, k3d and minikube on docker: pids are the node's own."""

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from exectrail.contracts.record import Record
from tests.kernel.fake_pods import JOIN_AND_EXEC, FakeContainer, v2_tree
from tests.kernel.test_restart import _remove

NAMESPACES = ("--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--cgroup", "--net", "--uts", "--ipc")
_PATIENCE = 60


class NestedNode:
    """The node at work, and what it says; `container` is the cgroup of its one container, as the machine has it."""

    def __init__(self, cgroup: FakeContainer, folder: Path) -> None:
        command: list[str | Path] = [
            "/bin/sh",
            "-c",
            JOIN_AND_EXEC,
            cgroup.folder,
            "unshare",
            *NAMESPACES,
            sys.executable,
        ]
        self.process = subprocess.Popen(
            [*command, "-m", "tests.kernel.nested_node", folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        cgroup.started.append(self.process)
        self.seen = self._says()
        self.container = cgroup.folder / Path(self.seen["cgroup"]).relative_to("/sys/fs/cgroup")

    def ends(self) -> dict[str, Any]:
        assert self.process.stdin
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        return self._says()

    def _says(self) -> dict[str, Any]:
        assert self.process.stdout
        assert select.select([self.process.stdout], [], [], _PATIENCE)[0], "the nested node says nothing"
        said: dict[str, Any] = json.loads(self.process.stdout.readline())
        return said


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the node saw itself, and what its enricher made of it, with a process of the machine in its container."""
    root = Path(tempfile.mkdtemp(prefix="exectrail-nested-", dir=v2_tree()))
    cgroup = FakeContainer(root / "node")
    try:
        node = NestedNode(cgroup, tmp_path_factory.mktemp("nested"))
        intruder = ("/bin/sh", "-c", JOIN_AND_EXEC, node.container, "/bin/true", "of-the-machine")
        subprocess.run(intruder, check=True)
        subprocess.run(["/bin/true", "elsewhere"], check=True)
        yield node.seen | node.ends()
    finally:
        for process in cgroup.started:
            process.kill()  # and with it, all that is in its pid namespace
            with process:  # closes its pipes and waits for it
                pass
        for folder, _, _ in os.walk(root, topdown=False):
            _remove(Path(folder))


@pytest.fixture(scope="module")
def records(found: dict[str, Any]) -> list[Record]:
    return msgspec.convert(found["records"], list[Record])


def ran(records: list[Record], *argv: str) -> Record:
    (only,) = [each for each in records if each.kind == "exec" and each.argv == list(argv)]
    return only


def test_pids_are_those_that_the_nodes_own_proc_shows(found: dict[str, Any], records: list[Record]) -> None:
    entry = next(each for each in records if each.kind == "exec" and each.request_uid == found["uid"])

    assert (entry.pid, ran(records, "/bin/true", "before").ppid) == (found["shell"], found["init"])


def test_children_of_what_ran_before_the_enricher_are_the_containers_own(records: list[Record]) -> None:
    child = ran(records, "/bin/true", "before")
    (birth,) = [each for each in records if each.kind == "clone" and each.process_key == child.process_key]
    (end,) = [each for each in records if each.kind == "exit" and each.process_key == child.process_key]

    assert (child.origin, birth.origin, birth.parent_key) == ("container", "container", child.parent_key)
    assert end.exit
    assert end.exit.code == 0
    assert "untracked" not in {each.origin for each in records}


def test_an_exec_of_alice_is_hers_to_its_result(found: dict[str, Any], records: list[Record]) -> None:
    within = ran(records, "/bin/true", "within")
    (end,) = [each for each in records if each.kind == "session" and each.phase == "end"]

    assert (within.origin, within.user, within.ppid) == ("session", "alice", found["shell"])
    assert (end.request_uid, end.exit and end.exit.code) == (found["uid"], 5)


def test_a_process_of_the_machine_in_a_pod_of_the_node_is_counted(found: dict[str, Any], records: list[Record]) -> None:
    """The node has no pid for it. Any number would be another process's."""
    said = {word for each in records for word in each.argv or ()}

    assert not said & {"of-the-machine", "elsewhere"}
    assert found["lost"].keys() == {"without-pid"}


def test_what_reports_of_the_machine_only_is_not_used_and_says_so(found: dict[str, Any]) -> None:
    trail, container = found["trail"], "this node is itself a container"
    auditlog, procconn = found["refusals"]

    assert (trail["sensor"], trail["auditSource"]) == ("bpf", "none")
    assert f"audit netlink: {container}" in trail["auditSourceReason"]
    assert f"auditd's log: {container}" in auditlog
    assert f"proc connector: {container}" in procconn
    assert found["log"].count(f"audit netlink: {container}") <= 3, "an error loop"
