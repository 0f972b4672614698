"""Run a command in a container made of this machine's own files: `python -m tests.nested COMMAND...`. Needs root.

It has pid, mount, cgroup, network and IPC namespaces of its own. In it, the cgroup trees begin at its own part, and
the node's folders are private and empty. The network leads nowhere, so what the command needs has to be in the caches.
When the command ends, everything that it started ends, and nothing is left. Its exit code is the command's.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from tests.cluster.node.host import FOLDERS
from tests.cluster.node.paths import CACHE, RUN
from tests.cluster.node.process import wait_until
from tests.nested.trees import CGROUPS, Tree, mounted

_NAMESPACES = ("--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--cgroup", "--net", "--ipc")
# `echo` is built in: the shell itself joins, in each tree, and then becomes the program.
_JOIN_AND_EXEC = 'while [ "$1" != -- ]; do echo 0 > "$1/cgroup.procs"; shift; done; shift; exec "$@"'


def main(command: Sequence[str]) -> int:
    """Run it; its exit code."""
    if os.geteuid() != 0 or not command:
        print(__doc__, file=sys.stderr)
        return 2
    with ExitStack() as stack:
        folder = stack.enter_context(_folder())
        stack.enter_context(_mount_points())
        cgroups = [stack.enter_context(_cgroup(tree)) for tree in mounted()]
        join: list[str | Path] = ["sh", "-c", _JOIN_AND_EXEC, "join", *cgroups, "--", "unshare", *_NAMESPACES]
        environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "XDG_CACHE_HOME": str(CACHE.parent)}
        inside: list[str | Path] = [sys.executable, "-m", "tests.nested.inside", folder, *command]
        process = subprocess.Popen([*join, *inside], env=environment)
        try:
            return process.wait()
        except BaseException:
            process.send_signal(signal.SIGKILL)  # and with it, all that is in the pid namespace
            process.wait()
            raise


@contextmanager
def _folder() -> Iterator[Path]:
    """For what the node keeps, on a disk: it unpacks images."""
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="nested-", dir=CACHE))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def _mount_points() -> Iterator[None]:
    """Have the node's folders on the machine, if only for others to be mounted over them in there."""
    made = [folder for folder in (*FOLDERS, RUN) if not folder.exists()]
    for folder in made:
        folder.mkdir(parents=True)
    try:
        yield
    finally:
        for folder in made:
            with suppress(OSError):  # a node of the machine's own has come up meanwhile
                folder.rmdir()


@contextmanager
def _cgroup(tree: Tree) -> Iterator[Path]:
    """The top of the container's part of a tree; all below it goes with it."""
    top = Path(tempfile.mkdtemp(prefix="exectrail-nested-", dir=tree.point))
    for name in ("cpuset.cpus", "cpuset.mems"):
        if (top.parent / name).exists() and not (top / name).read_text().strip():  # cgroup v1: nothing could run there
            (top / name).write_text((top.parent / name).read_text())
    try:
        yield top
    finally:
        for folder, _, _ in os.walk(top, topdown=False):
            if not wait_until(partial(_removed, folder), 10):
                print(f"left: the cgroup {folder}", file=sys.stderr)


def _removed(cgroup: str) -> bool:
    """A cgroup is busy for a moment after its last process."""
    try:
        os.rmdir(cgroup)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


if __name__ == "__main__":
    if not CGROUPS.is_dir():
        sys.exit(f"no cgroups at {CGROUPS}")
    sys.exit(main(sys.argv[1:]))
