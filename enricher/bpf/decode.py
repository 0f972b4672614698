"""Samples of the ring buffer to events. The layout is that of `struct fork`, `exec` and `exit` in sample.h.

Runs for every process of every watched container, so it is kept light: one unpack and a few slices per sample.
"""

from collections.abc import Callable
from struct import Struct

from enricher.events import Exec, Exit, Fork, Process, ProcessEvent

TICK = 10_000_000
"""Nanoseconds in a clock tick: USER_HZ is 100 on x86_64 and arm64, and `/proc/PID/stat` rounds down as we do."""

_KIND = Struct("=I")
# head, then for fork and exec the identity: the parent's start and pid, uid, gid, size of the cgroup's name
_FORK = Struct("=4xIQQQ QIIII")
_EXEC = Struct("=4xIQQQ QIIII IIIBB2x")
_EXIT = Struct("=4xIQQQ I4x")

Sample = bytes


def decode(sample: Sample) -> ProcessEvent | None:
    """The event in a sample; None if the sample is not one of ours, so that the caller can count it."""
    if len(sample) < _EXIT.size:
        return None
    decoder = _DECODERS.get(_KIND.unpack_from(sample)[0])
    return decoder(sample) if decoder else None


def _fork(sample: Sample) -> Fork | None:
    if len(sample) < _FORK.size:
        return None
    pid, time, start, cgroup, parent_start, parent_pid, uid, gid, name_size = _FORK.unpack_from(sample)
    if len(sample) != _FORK.size + name_size:
        return None
    return Fork(
        time,
        cgroup,
        str(sample[_FORK.size :], "utf-8", "replace"),
        Process(parent_pid, parent_start // TICK),
        Process(pid, start // TICK),
        uid,
        gid,
    )


def _exec(sample: Sample) -> Exec | None:
    if len(sample) < _EXEC.size:
        return None
    pid, time, start, cgroup, parent_start, parent_pid, uid, gid, name_size, *more = _EXEC.unpack_from(sample)
    ns_pid, filename_size, argv_size, seccomp, truncated = more
    name_end = _EXEC.size + name_size
    filename_end = name_end + filename_size
    if len(sample) != filename_end + argv_size:
        return None
    return Exec(
        time,
        cgroup,
        str(sample[_EXEC.size : name_end], "utf-8", "replace"),
        Process(pid, start // TICK),
        Process(parent_pid, parent_start // TICK),
        uid,
        gid,
        ns_pid,
        bool(seccomp),
        sample[name_end:filename_end],
        sample[filename_end:],
        bool(truncated),
    )


def _exit(sample: Sample) -> Exit | None:
    if len(sample) != _EXIT.size:
        return None
    pid, time, start, cgroup, status = _EXIT.unpack(sample)
    signal = status & 0x7F  # as WTERMSIG and WEXITSTATUS of wait(2); bit 7 says that a core was dumped
    code = None if signal else status >> 8 & 0xFF
    return Exit(time, cgroup, Process(pid, start // TICK), code, signal or None)


_DECODERS: dict[int, Callable[[Sample], ProcessEvent | None]] = {1: _fork, 2: _exec, 3: _exit}
