"""Asks /proc (proc(5)) about processes that no sensor saw start: those older than the agent, or all without eBPF.

It is a second-hand witness: a process may be gone before it is asked, may have executed something else since, and may
write into its own argument area.
"""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from enricher.argv import ARGV_LIMIT
from enricher.events import Process

_CHUNK: Final = 65536


class ProcessInfo(Struct, frozen=True):
    """What /proc shows of one process."""

    process: Process
    parent: int
    """The parent's pid; without its start, so not yet a `Process`."""
    uid: int
    gid: int
    """Real ids, in the reader's user namespace."""
    ns_pid: int
    """The pid in the process's own pid namespace."""
    seccomp: bool
    """Whether a seccomp filter is on the process (mode 2)."""
    argv: bytes
    """The arguments, each ended by NUL; empty for kernel threads and zombies."""
    truncated: bool
    """Whether `argv` was cut at `ARGV_LIMIT`."""
    cgroup: str
    """The text of its cgroup file; empty where its path is too long."""
    leader: int = 0
    """The pid of who began its session (setsid(2)), also when that is gone; 0 where unknown."""
    gone: bool = False
    """Whether no thread runs any more: nothing is left but what the parent waits for."""


class Stat(Struct, frozen=True):
    """The fields of `/proc/PID/stat` that are used here (proc(5)): 2, 3, 4, 6, 20 and 22."""

    process: Process
    comm: bytes
    parent: int
    leader: int
    """The pid of who began its session (setsid(2))."""
    gone: bool
    """Whether no thread runs any more: nothing is left but what the parent waits for."""


class Proc:
    """A proc file system, of the pid namespace that it was mounted in."""

    def __init__(self, root: Path = Path("/proc")) -> None:
        self._root = root

    def process(self, pid: int) -> ProcessInfo | None:
        """Look up a process by its pid or by the id of any of its threads; None when it is gone."""
        try:
            return self._process(pid)
        except (FileNotFoundError, ProcessLookupError, ValueError, LookupError):
            # Gone: no folder, no task behind it any more, or a file that ends early, depending on the moment.
            return None

    def is_alive(self, process: Process) -> bool:
        """Whether a process goes on; one that ended and is waited for does not."""
        info = self.process(process.pid)
        return info is not None and info.process == process and not info.gone

    def processes(self) -> Iterator[ProcessInfo]:
        """Every process, threads not counted; those that end meanwhile are left out."""
        for name in os.listdir(self._root):
            if name.isdigit() and (info := self.process(int(name))):
                yield info

    def boot_id(self) -> str:
        """Which boot of the machine this is (random(4)): with it, a `Process` is unique for all time."""
        return (self._root / "sys/kernel/random/boot_id").read_text("ascii").strip()

    def _process(self, pid: int) -> ProcessInfo:
        # An open folder of /proc stands for one process for good: when the pid is reused, reads through the folder
        # fail. Paths looked up one by one could mix two processes.
        folder = os.open(self._root / str(pid), os.O_RDONLY | os.O_DIRECTORY)
        try:
            status = _status_fields(_read(folder, "status"))
            leader = int(status[b"Tgid"])
            return _process_info(pid, folder, status) if leader == pid else self._leader_of(pid, leader)
        finally:
            os.close(folder)

    def _leader_of(self, thread: int, leader: int) -> ProcessInfo:
        folder = os.open(self._root / str(leader), os.O_RDONLY | os.O_DIRECTORY)
        try:
            info = _process_info(leader, folder, _status_fields(_read(folder, "status")))
            os.stat(f"task/{thread}", dir_fd=folder)  # the leader's pid may have been reused before it was opened
            return info
        finally:
            os.close(folder)


def parse_stat(pid: int, stat: bytes) -> Stat:
    """Read a stat file.

    Raises:
        ValueError: It is no stat file.
        IndexError: It is cut short.

    """
    # Field 2 is the command in parentheses, unescaped: it may hold spaces, newlines and `)` itself. What follows
    # are numbers and one letter, so the last `)` closes it.
    comm_from, comm_to = stat.index(b"("), stat.rindex(b")")
    fields = stat[comm_to + 1 :].split()
    gone = fields[0] in (b"Z", b"X") and int(fields[17]) <= 1
    return Stat(Process(pid, int(fields[19])), stat[comm_from + 1 : comm_to], int(fields[1]), int(fields[3]), gone)


def _process_info(pid: int, folder: int, status: dict[bytes, bytes]) -> ProcessInfo:
    stat = parse_stat(pid, _read(folder, "stat"))
    argv = _read(folder, "cmdline", ARGV_LIMIT + 1)
    return ProcessInfo(
        process=stat.process,
        parent=stat.parent,
        uid=int(status[b"Uid"].split()[0]),
        gid=int(status[b"Gid"].split()[0]),
        ns_pid=int(status.get(b"NSpid", b"%d" % pid).split()[-1]),
        seccomp=status.get(b"Seccomp") == b"2",
        argv=argv[:ARGV_LIMIT],
        truncated=len(argv) > ARGV_LIMIT,
        cgroup=_cgroup(folder),
        leader=stat.leader,
        gone=stat.gone,
    )


def _cgroup(folder: int) -> str:
    try:
        return os.fsdecode(_read(folder, "cgroup"))
    except OSError as error:
        # The kernel shows no path above 4 KiB, or cuts it. A privileged container can make a cgroup that deep.
        if error.errno == errno.ENAMETOOLONG:
            return ""
        raise


def _status_fields(status: bytes) -> dict[bytes, bytes]:
    # The first line is the process's own choice of a name. The kernel escapes newlines in it, but not everything
    # that str.splitlines takes for a line end: hence bytes.
    lines = (line.partition(b":") for line in status.split(b"\n"))
    return {key: value.strip() for key, _, value in lines}


def _read(folder: int, name: str, limit: int = 1 << 20) -> bytes:
    file = os.open(name, os.O_RDONLY, dir_fd=folder)
    try:
        chunks: list[bytes] = []
        while limit and (chunk := os.read(file, min(limit, _CHUNK))):
            chunks.append(chunk)
            limit -= len(chunk)
        return b"".join(chunks)
    finally:
        os.close(file)
