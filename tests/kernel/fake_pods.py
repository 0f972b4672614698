"""Cgroups that look like the kubelet's, and processes in them; beside a real `kubepods`, which stays untouched."""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from enricher.cgroup import Cgroup, Hierarchy

# `echo` is built in: joining the cgroup makes no process. What follows is the container's first exec.
JOIN_AND_EXEC = 'echo 0 > "$0/cgroup.procs" && exec "$@"'

Argument = str | bytes | Path


def v2_tree() -> Path:
    trees = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
    return next(tree for tree in trees if (tree / "cgroup.controllers").exists())


class FakeContainer:
    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.id = folder.stat().st_ino
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, *argv: Argument, user: int | None = None) -> subprocess.Popen[bytes]:
        as_user: list[Argument] = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
        process = subprocess.Popen(
            ["/bin/sh", "-c", JOIN_AND_EXEC, self.folder, *as_user, *argv], stdin=subprocess.DEVNULL
        )
        self.started.append(process)
        return process

    def run(self, *argv: Argument, user: int | None = None) -> int:
        """Runs a program to its end in the container and returns its pid; its events are in the ring by then."""
        process = self.start(*argv, user=user)
        process.wait(60)
        return process.pid


class FakePods:
    """A tree as below `kubepods`: `pod/container` and `burstable/pod/container`."""

    def __init__(self, hierarchy: Hierarchy = "v2") -> None:
        tree = v2_tree() if hierarchy == "v2" else Path("/sys/fs/cgroup") / hierarchy
        self.root = Path(tempfile.mkdtemp(prefix="kubepods-test-", dir=tree))
        self.cgroup = Cgroup(self.root.stat().st_ino, self.root, hierarchy)
        self._containers: list[FakeContainer] = []

    def container(self, path: str = "burstable/pod1/container1") -> FakeContainer:
        self._containers.append(FakeContainer(self.root / path))
        return self._containers[-1]

    def remove(self) -> None:
        deadline = time.monotonic() + 10
        while (pids := self._pids()) and time.monotonic() < deadline:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        for process in (each for container in self._containers for each in container.started):
            process.wait(10)
        for folder, _, _ in os.walk(self.root, topdown=False):
            Path(folder).rmdir()

    def _pids(self) -> list[int]:
        return [int(pid) for each in self.root.rglob("cgroup.procs") for pid in each.read_text().split()]
