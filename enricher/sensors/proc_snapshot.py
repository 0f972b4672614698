"""A look at /proc for one process at the moment of an event: as few reads as can be, for it may be gone at once.

Every read can fail on its own. A process is recognised by its start, never by its pid alone.
"""

import errno
import os
import re
import time

from msgspec import Struct

from enricher.argv import ARGV_LIMIT
from enricher.procfs import Stat, parse_stat

_CHUNK = 65536
# The kernel escapes newlines in the name that stands before it.
_IDS = re.compile(rb"^Uid:\t(\d+)\t.*\nGid:\t(\d+)\t", re.MULTILINE)


class ProcSnapshot(Struct, frozen=True):
    """What a process runs, and its name (comm) right after that was read."""

    stat: Stat
    argv: bytes
    """The arguments, each ended by NUL; empty where the process was already on its way out."""
    truncated: bool
    path: bytes
    """The path of its binary; empty where it may not be read (it takes CAP_SYS_PTRACE), or is above 4 KiB."""
    cwd: bytes
    """Its working directory, likewise."""
    read_at: int
    """When the arguments had been read: nanoseconds of CLOCK_MONOTONIC."""


def take(pid: int) -> ProcSnapshot | None:
    """What a process runs now; None when it is gone."""
    try:
        argv = _read(f"/proc/{pid}/cmdline", ARGV_LIMIT + 1)
        read_at = time.monotonic_ns()
        path, cwd = _link(pid, "exe"), _link(pid, "cwd")
        found = stat(pid)  # the last: its comm tells whether another exec came in between
    except (FileNotFoundError, ProcessLookupError):
        return None
    return ProcSnapshot(found, argv[:ARGV_LIMIT], len(argv) > ARGV_LIMIT, path, cwd, read_at) if found else None


def stat(pid: int) -> Stat | None:
    """The process that has this pid now; None for a free one."""
    try:
        return parse_stat(pid, _read(f"/proc/{pid}/stat", 4096))
    except (FileNotFoundError, ProcessLookupError, ValueError, IndexError):
        return None


def cgroup(pid: int) -> str | None:
    """The text of a process's cgroup file, empty where its path is too long; None when it is gone."""
    try:
        return os.fsdecode(_read(f"/proc/{pid}/cgroup", 65536))
    except (FileNotFoundError, ProcessLookupError):
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return ""
        raise


def ids(pid: int) -> tuple[int, int] | None:
    """The real user and group of a process; None when it is gone."""
    try:
        status = _read(f"/proc/{pid}/status", 65536)
    except (FileNotFoundError, ProcessLookupError):
        return None
    found = _IDS.search(status)
    return (int(found[1]), int(found[2])) if found else None


def _link(pid: int, name: str) -> bytes:
    try:
        return os.readlink(os.fsencode(f"/proc/{pid}/{name}"))
    except OSError as error:
        # The kernel shows no path above 4 KiB, and any user can work in a folder that deep.
        if error.errno in (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG):
            return b""
        raise


def _read(path: str, limit: int) -> bytes:
    file = os.open(path, os.O_RDONLY)
    try:
        chunk = os.read(file, min(limit, _CHUNK))
        chunks = [chunk]
        while len(chunk) == _CHUNK and (limit := limit - len(chunk)):
            chunks.append(chunk := os.read(file, min(limit, _CHUNK)))
        return b"".join(chunks)
    finally:
        os.close(file)
