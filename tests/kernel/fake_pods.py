"""Cgroups that look like the kubelet's, and processes in them; beside a real `kubepods`, which stays untouched."""

import os
import subprocess
import tempfile
import time
from pathlib import Path

from enricher.cgroupfs import Cgroup

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

    def start(self, *argv: Argument, user: int | None = None) -> subprocess.Popen[bytes]:
        as_user: list[Argument] = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
        return subprocess.Popen(
            ["/bin/sh", "-c", JOIN_AND_EXEC, self.folder, *as_user, *argv], stdin=subprocess.DEVNULL
        )

    def run(self, *argv: Argument, user: int | None = None) -> int:
        """Runs a program to its end in the container and returns its pid; its events are in the ring by then."""
        process = self.start(*argv, user=user)
        process.wait(60)
        return process.pid


class FakePods:
    """A tree as below `kubepods`: `pod/container` and `burstable/pod/container`."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="kubepods-test-", dir=v2_tree()))
        self.cgroup = Cgroup(self.root.stat().st_ino, self.root)

    def container(self, path: str = "burstable/pod1/container1") -> FakeContainer:
        return FakeContainer(self.root / path)

    def remove(self) -> None:
        (self.root / "cgroup.kill").write_text("1")
        deadline = time.monotonic() + 10
        while "populated 1" in (self.root / "cgroup.events").read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        for folder, _, _ in os.walk(self.root, topdown=False):
            Path(folder).rmdir()
