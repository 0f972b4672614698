"""Processes by identity, not by number: a process is its id together with its start time."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

# Every process that the node starts has it in its environment, and hands it on to its children (containerd's
# shims, CNI plugins), but not to containers. So `down` finds those whose start was never recorded, too.
MARK = "EXECTRAIL_NODE_OWNER"


@dataclass(frozen=True)
class Process:
    """`started` is the start time in clock ticks since boot: field 22 of /proc/PID/stat, see proc(5)."""

    pid: int
    started: int

    def alive(self) -> bool:
        """Whether this very process runs; a zombie doesn't."""
        return find(self.pid) == self


def find(pid: int) -> Process | None:
    """The process that has this id now, unless it is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, started = parse_stat(stat)
    return Process(pid, started) if state != "Z" else None


def parse_stat(stat: str) -> tuple[str, int]:
    """State and start time of a line of /proc/PID/stat."""
    fields = _fields(stat)
    return fields[0], int(fields[19])


def _fields(stat: str) -> list[str]:
    # The name, in parentheses, may itself hold spaces and parentheses: count from the last one.
    return stat.rpartition(")")[2].split()


def end(process: Process, grace: float = 10.0) -> None:
    """Ask the process to end, and kill it after `grace` seconds (0: at once)."""
    end_all([process], grace)


def end_all(processes: Collection[Process], grace: float = 10.0) -> None:
    """The same for several, which have these seconds together."""

    def ended() -> bool:
        return not any(process.alive() for process in processes)

    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 5)):
        if seconds:
            for process in processes:
                _send(process, number)
            if wait_until(ended, seconds):
                return


def _send(process: Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(process.pid)
        try:
            # From here on the id can't come to mean another process unnoticed.
            if process.alive():
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def descendants(ancestor: int, but: Collection[Process] = ()) -> Iterator[Process]:
    """What a process has started, and what that has started, but not below and at those of `but`."""
    children: dict[int, list[Process]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            parent = _fields((folder / "stat").read_text())[1]
            if process := find(int(folder.name)):
                children.setdefault(int(parent), []).append(process)
    waiting = [ancestor]
    while waiting:
        for process in children.get(waiting.pop(), []):
            if process not in but:
                yield process
                waiting.append(process.pid)


def marked(owner: str) -> Iterator[Process]:
    """The processes that have the node's mark, set to `owner`, in their environment."""
    wanted = f"{MARK}={owner}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                process = find(int(folder.name))
                if process:
                    yield process


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether `condition` came true within `seconds`; it is asked twenty times a second."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
