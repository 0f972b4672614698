"""`python -m tests.vm`: see --help."""

import argparse
import fcntl
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster.node.errors import NodeError
from tests.cluster.node.paths import CACHE
from tests.cluster.node.run import say

from .machines import MACHINES
from .qemu import try_out

_LOCK = CACHE / "vm.lock"
_PROGRAMS = {
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "cpio": "cpio",
    "make": "make",
    "clang": "clang",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-system-aarch64": "qemu-system-arm",
}


def main() -> int:
    """Run the tests in the machines that are named; 0 if all passed in each."""
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # a machine ends with us
    wanted = [machine for machine in MACHINES if not arguments.machines or machine.name in arguments.machines]
    try:
        _require_programs()
        with _lock():
            verdicts = [try_out(machine, arguments.pytest) for machine in wanted]
    except NodeError as error:
        say(f"\nerror: {error}")
        return 1
    print("\n" + "\n".join(map(str, verdicts)))
    return int(any(verdict.wrong for verdict in verdicts))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.vm",
        description="The kernel's tests on other kernels, in virtual machines.",
    )
    names = [machine.name for machine in MACHINES]
    parser.add_argument("machines", nargs="*", metavar="MACHINE", choices=[[], *names], help=", ".join(names))
    parser.add_argument(
        "--pytest", action="append", default=[], metavar="ARGUMENT", help="give pytest this instead of all tests"
    )
    return parser


def _require_programs() -> None:
    packages = [package for program, package in _PROGRAMS.items() if not shutil.which(program)]
    if packages:
        raise NodeError(f"programs are missing: apt-get install --no-install-recommends {' '.join(packages)}")


@contextmanager
def _lock() -> Iterator[None]:
    """One command at a time: the cache keeps one build of each name."""
    _LOCK.parent.mkdir(parents=True, exist_ok=True)
    with _LOCK.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
