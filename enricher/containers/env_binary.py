"""Looks whether a container has an `env` program: only then can the webhook put its tag in front of a command.

The look goes into another's file system, which may hang (FUSE, a dead network volume) or be laid out to lead astray. So
a process of its own does it, with a time limit, and the kernel resolves every link as if the container's root were `/`
(openat2(2), RESOLVE_IN_ROOT). Entering `/proc/PID/root` needs CAP_SYS_PTRACE, and CAP_DAC_READ_SEARCH where the folders
are not readable by all users.
"""

import ctypes
import os
import queue
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from enricher.argv import SEARCHED
from enricher.containers.containers import Container

_TIMEOUT = 5.0
_MOST = 5_000
_LONGEST = 60.0

_AT_OPENAT2 = 437  # the same on every architecture
_RESOLVE_NO_MAGICLINKS, _RESOLVE_IN_ROOT = 0x02, 0x10


class _OpenHow(ctypes.Structure):
    """struct open_how, include/uapi/linux/openat2.h."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def has_env(root: Path) -> bool:
    """Whether the file system at this root has an executable `env` on the usual PATH.

    Raises:
        OSError: The root cannot be entered.

    """
    folder = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return any(_is_program(folder, f"{each}/env") for each in SEARCHED)
    finally:
        os.close(folder)


def _is_program(root: int, path: str) -> bool:
    how = _OpenHow(os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    libc = ctypes.CDLL(None, use_errno=True)
    file = libc.syscall(_AT_OPENAT2, root, path.encode(), ctypes.byref(how), ctypes.sizeof(how))
    if file < 0:
        return False
    try:
        mode = os.fstat(file).st_mode
        return stat.S_ISREG(mode) and bool(mode & 0o111)
    finally:
        os.close(file)


class _Look(Struct):
    """Into one container."""

    container_id: str
    found: bool | None = None
    tries: int = 0
    again_at: float = 0.0
    """When it may be tried, in seconds of the monotonic clock; never while it is."""


class EnvReport:
    """Which of the recorded containers have an `env`, by `namespace/pod/container`; looked up one after the other.

    Args:
        look: Whether the root file system of this process has one; None where that could not be seen.

    """

    def __init__(self, look: Callable[[int], bool | None]) -> None:
        self._look = look
        self._looks: dict[str, _Look] = {}
        self._wanted: queue.SimpleQueue[tuple[_Look, int]] = queue.SimpleQueue()

    def start(self) -> None:
        """Look in a thread of its own, which ends with the process."""
        threading.Thread(target=self._run, name="env-binary", daemon=True).start()

    def want(self, container: Container, pid: int) -> None:
        """Look into a container, by the pid of one of its processes, unless that was done.

        A look that failed (the process was on its way out, the node too busy) is tried again, at longer intervals.
        """
        name = _name(container)
        look = self._looks.get(name)
        if look is None or look.container_id != container.id:
            if look is None and len(self._looks) >= _MOST:
                return
            look = self._looks[name] = _Look(container.id)
        if look.found is None and look.again_at <= time.monotonic():
            look.again_at = float("inf")
            self._wanted.put((look, pid))

    def keep(self, ids: set[str]) -> None:
        """Forget the containers that are not among these."""
        for name, look in list(self._looks.items()):
            if look.container_id not in ids:
                del self._looks[name]

    def known(self) -> dict[str, bool]:
        """What was found so far."""
        return {name: look.found for name, look in list(self._looks.items()) if look.found is not None}

    @property
    def wanted(self) -> int:
        """How many looks wait for their turn."""
        return self._wanted.qsize()

    def step(self) -> None:
        """Look once, as soon as that is wanted."""
        look, pid = self._wanted.get()
        look.found = self._look(pid)
        if look.found is None:
            look.tries += 1
            look.again_at = time.monotonic() + min(2.0**look.tries, _LONGEST)

    def _run(self) -> None:
        while True:
            self.step()


def look_into(pid: int) -> bool | None:
    """What a process of its own finds in the root file system of this one; None where it could not look."""
    command = [sys.executable, "-m", "enricher.containers.env_binary", f"/proc/{pid}/root"]
    try:
        code = subprocess.run(command, timeout=_TIMEOUT, capture_output=True, check=False).returncode
    except subprocess.TimeoutExpired:
        return None
    return {0: True, 1: False}.get(code)


def _name(container: Container) -> str:
    where = container.resource
    return f"{where.namespace}/{where.pod}/{where.container}"


def _main() -> int:
    try:
        return 0 if has_env(Path(sys.argv[1])) else 1
    except OSError:
        return 2


if __name__ == "__main__":
    sys.exit(_main())
