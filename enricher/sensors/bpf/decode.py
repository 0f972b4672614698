"""Samples of the ring buffer to events. The layout is that of the structures in sample.h, sensor.bpf.c
and failed.h.

Runs for every process of every watched container, so it is kept light: one unpack and a few slices per sample.
"""

from collections.abc import Callable
from functools import lru_cache
from struct import Struct

from enricher.events import TICK_NS, ExecEvent, ExecFailedEvent, ExitEvent, ForkEvent, Process, ProcessEvent

# head without the kind: how, pid, time, start, cgroup
# identity: the parent's start and pid, uid, gid, size of the cgroup's name
_FORK = Struct("=xB2xIQQQ QIIII")
_EXEC = Struct("=xB2xIQQQ QIIII IIIIBBBBB")
_EXEC_FAILED = Struct("=xB2xIQQQ QIIII IIII")
_EXIT = Struct("=xB2xIQQQ I4x")

_FORK_SIZE, _EXEC_SIZE, _EXIT_SIZE = _FORK.size, _EXEC.size, _EXIT.size
_unpack_fork, _unpack_exec, _unpack_exit = _FORK.unpack_from, _EXEC.unpack_from, _EXIT.unpack

_MOVED_OUT, _BY_NAMESPACE, _ON_NODE = 1, 2, 3  # enum how
_CUT, _DELETED, _UNREACHABLE = 1, 2, 4  # enum walked

_PATHS = 256
"""How many paths are remembered: programs and folders come again, and a path has 4 KiB at most."""

Sample = bytes


def decode(sample: Sample) -> ProcessEvent | None:
    """The event in a sample; None if the sample is not one of ours, so that the caller can count it."""
    decoder = _DECODERS.get(sample[0]) if sample else None
    return decoder(sample) if decoder else None


def _fork(sample: Sample) -> ForkEvent | None:
    if len(sample) < _FORK_SIZE:
        return None
    how, pid, time, start, cgroup, parent_start, parent_pid, uid, gid, name_size = _unpack_fork(sample)
    if len(sample) != _FORK_SIZE + name_size:
        return None
    return ForkEvent(
        time,
        cgroup,
        sample[_FORK_SIZE:].decode("utf-8", "replace"),
        Process(parent_pid, parent_start // TICK_NS),
        Process(pid, start // TICK_NS),
        uid,
        gid,
        (),
        how == _MOVED_OUT,
        how == _BY_NAMESPACE,
    )


def _exec(sample: Sample) -> ExecEvent | None:
    if len(sample) < _EXEC_SIZE:
        return None
    # fmt: off
    (
        how, pid, time, start, cgroup, parent_start, parent_pid, uid, gid, name_size,
        filename_size, argv_size, path_size, cwd_size, seccomp, of_parent, truncated, path, cwd,
    ) = _unpack_exec(sample)
    # fmt: on
    name_end = _EXEC_SIZE + name_size
    filename_end = name_end + filename_size
    argv_end = filename_end + argv_size
    path_end = argv_end + path_size
    if len(sample) != path_end + cwd_size:
        return None
    folder = _path(sample[path_end:], cwd)
    return ExecEvent(
        time,
        cgroup,
        sample[_EXEC_SIZE:name_end].decode("utf-8", "replace"),
        Process(pid, start // TICK_NS),
        Process(parent_pid, parent_start // TICK_NS),
        uid,
        gid,
        seccomp != 0,
        sample[name_end:filename_end],
        sample[filename_end:argv_end],
        truncated != 0,
        (),
        how == _MOVED_OUT,
        how == _BY_NAMESPACE,
        _path(sample[argv_end:path_end], path),
        b"(unreachable)" + folder if cwd & _UNREACHABLE else folder,
        path & _CUT != 0,
        cwd & _CUT != 0,
        how == _ON_NODE,
        of_parent != 0,
    )


@lru_cache(_PATHS)
def _path(upwards: bytes, walked: int) -> bytes:
    """The path with these names on the way from the file to the root, each ended by NUL."""
    path = b"/".join(upwards[:-1].split(b"\0")[::-1])
    if not walked & _CUT:
        path = b"/" + path
    return path + b" (deleted)" if walked & _DELETED else path


def _exec_failed(sample: Sample) -> ExecFailedEvent | None:
    if len(sample) < _EXEC_FAILED.size:
        return None
    how, pid, time, start, cgroup, *more = _EXEC_FAILED.unpack_from(sample)
    parent_start, parent_pid, uid, gid, name_size, errno, filename_size, argv_size, truncated = more
    name_end = _EXEC_FAILED.size + name_size
    filename_end = name_end + filename_size
    if len(sample) != filename_end + argv_size:
        return None
    return ExecFailedEvent(
        time,
        cgroup,
        str(sample[_EXEC_FAILED.size : name_end], "utf-8", "replace"),
        Process(pid, start // TICK_NS),
        Process(parent_pid, parent_start // TICK_NS),
        uid,
        gid,
        errno,
        sample[name_end:filename_end],
        sample[filename_end:],
        bool(truncated),
        (),
        how == _MOVED_OUT,
        how == _BY_NAMESPACE,
        how == _ON_NODE,
    )


def _exit(sample: Sample) -> ExitEvent | None:
    if len(sample) != _EXIT_SIZE:
        return None
    how, pid, time, start, cgroup, status = _unpack_exit(sample)
    signal = status & 0x7F  # as WTERMSIG and WEXITSTATUS of wait(2); bit 7 says that a core was dumped
    code = None if signal else status >> 8 & 0xFF
    process = Process(pid, start // TICK_NS)
    moved_out, by_namespace, on_node = how == _MOVED_OUT, how == _BY_NAMESPACE, how == _ON_NODE
    return ExitEvent(time, cgroup, process, code, signal or None, (), moved_out, by_namespace, on_node)


_DECODERS: dict[int, Callable[[Sample], ProcessEvent | None]] = {1: _fork, 2: _exec, 3: _exit, 4: _exec_failed}
