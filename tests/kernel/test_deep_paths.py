"""Paths above 4 KiB, which no kernel shows whole: any user can work in such a folder, and root make such a cgroup."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from enricher.containers.cgroupfs import folders_below
from enricher.events import ExecEvent, ProcessEvent
from enricher.procfs import Proc
from enricher.sensors import proc_snapshot
from enricher.sensors.bpf.program import BpfProgram
from enricher.sensors.entered_from import entered_from
from tests.kernel.conftest import Drain
from tests.kernel.fake_pods import FakeContainer, v2_tree
from tests.kernel.test_bpf_evasion import Isolated

LEVELS, NAME = 23, "d" * 200


class Deep:
    """Folders below each other, of which the last has a path above 4 KiB."""

    def __init__(self, top: Path) -> None:
        self._opened = [os.open(top, os.O_RDONLY | os.O_DIRECTORY)]
        for _ in range(LEVELS):
            os.mkdir(NAME, dir_fd=self._opened[-1])
            self._opened.append(os.open(NAME, os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._opened[-1]))

    @property
    def last(self) -> int:
        return self._opened[-1]

    @property
    def path(self) -> str:
        """One that is short enough."""
        return f"/proc/self/fd/{self.last}"

    def remove(self) -> None:
        for folder in reversed(self._opened[:-1]):
            os.rmdir(NAME, dir_fd=folder)
        for folder in self._opened:
            os.close(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Deep]:
    deep = Deep(tmp_path)
    yield deep
    deep.remove()


@pytest.fixture
def cgroup(container: FakeContainer) -> Iterator[Deep]:
    deep = Deep(container.folder)
    yield deep
    deep.remove()


def move(pid: int, cgroup: int) -> None:
    procs = os.open("cgroup.procs", os.O_WRONLY, dir_fd=cgroup)
    os.write(procs, b"%d" % pid)
    os.close(procs)


def test_of_a_process_in_a_deep_folder_all_but_the_folder_is_known(folder: Deep) -> None:
    with subprocess.Popen(["/bin/sleep", "60"], cwd=folder.path) as process:
        while (seen := proc_snapshot.take(process.pid)) and not seen.argv:
            pass  # it executes just now
        process.kill()

    assert seen is not None
    assert (seen.argv.split(b"\0")[:2], seen.cwd) == ([b"/bin/sleep", b"60"], b"")
    assert seen.path


def test_who_enters_a_container_from_a_deep_folder_is_reported(
    container: FakeContainer, program: BpfProgram, drain: Drain, folder: Deep
) -> None:
    isolated = Isolated(container, drain)
    program.decide(container.id, record=True)
    drain()
    enter = ("nsenter", "-t", str(isolated.pid), "--mount", "--pid", "/bin/sleep", "30")
    with subprocess.Popen(enter, cwd=folder.path) as intruder:
        events: list[ProcessEvent] = []
        while not (execs := [event for event in events if isinstance(event, ExecEvent)]):
            events += drain()
        found = entered_from(execs[0])
        subprocess.run(["kill", str(execs[0].process.pid)], check=True)
        intruder.wait(10)

    assert found is not None
    assert found.argv == list(enter)


def test_a_process_in_a_deep_cgroup_is_known_and_reported_as_its_container_s(
    container: FakeContainer, program: BpfProgram, drain: Drain, cgroup: Deep
) -> None:
    program.decide(container.id, record=True)
    drain()

    with subprocess.Popen(["/bin/sh", "-c", "read -r _; exec /bin/sleep 60"], stdin=subprocess.PIPE) as process:
        move(process.pid, cgroup.last)
        assert process.stdin
        process.stdin.write(b"\n")
        process.stdin.flush()
        deadline = time.monotonic() + 10
        events: list[ProcessEvent] = []
        while not any(isinstance(event, ExecEvent) for event in events) and time.monotonic() < deadline:
            events += drain()
        info, text = Proc().process(process.pid), proc_snapshot.cgroup(process.pid) or ""
        listed = [path for path, _ in folders_below(container.folder)]
        process.kill()
        process.wait(10)

    assert {event.cgroup for event in events if isinstance(event, ExecEvent)} == {container.id}
    assert info is not None
    assert info.process.pid == process.pid
    # Some kernels refuse to show such a path, others cut it.
    shown = str(container.folder.relative_to(v2_tree()))
    assert all(not each or shown in each for each in (info.cgroup, text))
    assert 0 < len(listed) < LEVELS
