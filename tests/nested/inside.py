"""The container's first process: `python -m tests.nested.inside FOLDER COMMAND...`, in its namespaces.

It sets up what a container engine does, runs the command, and waits for what loses its parent.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.node.host import FOLDERS
from tests.cluster.node.paths import RUN
from tests.nested.trees import CGROUPS, Tree, mounted


def main(folder: Path, command: Sequence[str]) -> int:
    """Run the command; its exit code."""
    trees = mounted()
    # A container of Kubernetes may want to see mounts that come later: as kind does it.
    _run("mount", "--make-rshared", "/")
    _run("umount", "--recursive", "--lazy", "/sys")  # or runtimes would find the machine's cgroups among the mounts
    _run("mount", "-t", "sysfs", "sysfs", "/sys")
    _mount_cgroups(trees)
    for number, target in enumerate((*FOLDERS, RUN)):
        own = folder / f"mount-{number}"
        own.mkdir()
        _run("mount", "--bind", own, target)
    _run("ip", "link", "set", "lo", "up")
    # A way to everywhere: without one, addresses of Services are refused before kube-proxy's rules turn them to pods.
    _run("ip", "route", "add", "default", "dev", "lo")
    return _until_it_ends(subprocess.Popen(command))


def _mount_cgroups(trees: Sequence[Tree]) -> None:
    """Each tree again: in this cgroup namespace, from its own part on."""
    if all(tree.point != CGROUPS for tree in trees):
        _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", CGROUPS)
    for tree in trees:
        tree.point.mkdir(exist_ok=True)
        _run("mount", "-t", tree.kind, *(("-o", tree.controllers) if tree.controllers else ()), tree.kind, tree.point)


def _until_it_ends(process: subprocess.Popen[bytes]) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C reaches the command as well, which then ends
    while True:
        pid, status = os.wait()
        if pid == process.pid:
            process.returncode = os.waitstatus_to_exitcode(status)  # Popen would wait for it once more
            return process.returncode


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
