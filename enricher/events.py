"""What the kernel reports: the events that audit sources and sensors hand to the pipeline.

Each kind of process event is a type of its own, without subtypes: what all of them pass through compares `type(event)`,
which takes a third of the time of isinstance() and of `match`.

Two clocks meet here. The sensor counts nanoseconds since boot (CLOCK_BOOTTIME); audit records carry wall-clock
milliseconds, only some 4 ms fine. Neither orders the other's events.
"""

from collections.abc import Hashable
from typing import final

from msgspec import Struct

from exectrail.contracts.record import EnteredFrom

TICK_NS = 10_000_000
"""Nanoseconds in a clock tick of /proc: USER_HZ is 100 on x86_64 and arm64. `/proc/PID/stat` rounds down to ticks."""


UNSEEN_END = ("exit", "durationMs", "timestamp")
"""What is not certain of an end that only /proc has shown."""


class Process(Struct, frozen=True, order=True, cache_hash=True, gc=False):
    """A process: its thread group id in the initial pid namespace, and its start in clock ticks since boot.

    The start is field 22 of `/proc/PID/stat` (proc(5)). A pid alone is reused within minutes and is never a key.
    """

    pid: int
    start: int

    @property
    def born(self) -> int:
        """When it started, as fine as a tick: nanoseconds since boot."""
        return self.start * TICK_NS


@final
class ForkEvent(Struct, frozen=True, gc=False):
    """A new process (threads do not count). `cgroup` is the child's cgroup id."""

    time: int
    cgroup: int
    cgroup_name: str
    """Name of that cgroup's folder, e.g. `cri-containerd-<id>.scope`; empty where the process is not in it."""
    parent: Process
    child: Process
    uid: int
    gid: int
    weak: tuple[str, ...] = ()
    """The record's fields that are not certain with the sensor."""
    outside: bool = False
    """Whether the process is outside of its container's cgroup by now; `cgroup` is the container's all the same."""
    entered_by_namespace: bool = False
    """Whether it is in `cgroup`'s container by its mount or pid namespace alone, as `nsenter` does it."""


@final
class ExecEvent(Struct, frozen=True, gc=False):
    """A process runs another program; sent after the exec succeeded, so all of it is the new program's."""

    time: int
    cgroup: int
    cgroup_name: str
    process: Process
    parent: Process
    uid: int
    gid: int
    seccomp: bool | None
    """Whether a seccomp filter is on the process (mode 2); None where the sensor cannot know."""
    filename: bytes
    """The path that was executed, as given to execve: of a script its own, not its interpreter's."""
    argv: bytes
    """The arguments, each ended by NUL."""
    truncated: bool
    """Whether arguments are missing at the end."""
    weak: tuple[str, ...] = ()
    outside: bool = False
    entered_by_namespace: bool = False
    path: bytes = b""
    """The file that runs (of a script: its interpreter), seen from the process's root and free of symbolic links; as in
    `/proc/PID/exe`, ` (deleted)` follows if it has no name any more, and memfds are `/memfd:<name> (deleted)`."""
    cwd: bytes = b""
    """The working directory, as in `/proc/PID/cwd`; `(unreachable)` precedes one outside of the process's root
    (getcwd(2))."""
    path_truncated: bool = False
    """Whether folders are missing at the start of `path`; then it has no leading `/`."""
    cwd_truncated: bool = False
    on_node: bool = False
    """Whether it is the node's own process, outside of all pods; `cgroup` is 0."""
    mounts_of_parent: bool = False
    """Whether it is in its parent's mount namespace. False for processes that a runtime sends into a container."""
    entered_from: EnteredFrom | None = None
    """Of a process that enters a container by its namespaces: where it comes from."""

    @property
    def argv_is_late(self) -> bool:
        """Whether `argv` was read from /proc after the exec, so that it may be the next program's."""
        return "argv" in self.weak


@final
class ExitEvent(Struct, frozen=True, gc=False):
    """The last thread of a process is gone; `code` or `signal` is set, neither where the sensor cannot know."""

    time: int
    cgroup: int
    process: Process
    code: int | None
    signal: int | None
    weak: tuple[str, ...] = ()
    outside: bool = False
    entered_by_namespace: bool = False
    on_node: bool = False


@final
class ExecFailedEvent(Struct, frozen=True, gc=False):
    """A process could not run a program; it goes on as it was, and so do its ids."""

    time: int
    cgroup: int
    cgroup_name: str
    process: Process
    parent: Process
    uid: int
    gid: int
    errno: int
    """As in errno(3), e.g. 2 for ENOENT."""
    filename: bytes
    """The path as given to execve; empty where the kernel gives no access to it (Linux < 5.15)."""
    argv: bytes
    """The arguments, each ended by NUL; no more than 64 of them and 4 KiB. The call may have failed before the kernel
    looked at them: those whose memory was never touched are missing."""
    truncated: bool
    """Whether arguments are missing at the end."""
    weak: tuple[str, ...] = ()
    outside: bool = False
    entered_by_namespace: bool = False
    on_node: bool = False

    @property
    def content(self) -> tuple[Hashable, ...]:
        """What was tried, by any process, and how it failed."""
        return self.filename, self.argv, self.errno


CallEvent = ExecFailedEvent
"""A call that leaves its process as it was. Where nothing else is said, all of them are treated alike: another kind of
call is added to this union, and needs the same fields and `content`."""

ProcessEvent = ForkEvent | ExecEvent | CallEvent | ExitEvent


def process_of(event: ProcessEvent) -> Process:
    """The process of an event: of a fork, the new one."""
    return event.child if isinstance(event, ForkEvent) else event.process


def size_of_strings(event: ProcessEvent) -> int:
    """How many bytes of an event its process's user chooses."""
    if type(event) is ExecEvent:
        return len(event.argv) + len(event.filename) + len(event.path) + len(event.cwd)
    return len(event.argv) + len(event.filename) if type(event) is ExecFailedEvent else 0


class SeccompEvent(Struct, frozen=True, gc=False):
    """An audit record of type 1326: a system call that a seccomp filter reported, before it ran.

    So `exe` and `comm` are the caller's. `time` is in milliseconds since the epoch; `pid` is the process's, whichever
    of its threads made the call (kernel/auditsc.c audit_log_task: `task_tgid_nr`).
    """

    time: int
    serial: int
    pid: int
    uid: int | None
    gid: int | None
    auid: int | None
    ses: int | None
    comm: bytes | None
    exe: bytes | None
    signal: int
    arch: int
    syscall: int
    code: int
    via: str = "netlink"
    """The name of the audit source that it came by."""
