"""The record: one JSON line of a trail, and the only thing that the parts of exectrail exchange on disk.

Keys that the Security Profiles Operator's `spo/v1_alpha` lines have keep their names, types and meaning; the
others are added. But for `pid` in a `clone`: it is the new process, and the caller is `ppid`. A key that is absent is
unknown or does not apply: nothing is ever guessed.
"""

from typing import Literal

import msgspec
from msgspec import Struct, field

VERSION = "spo/v1_alpha"

Kind = Literal["exec", "clone", "syscall", "exit", "session", "gap", "digest"]
"""What a record is about: a process's exec, its creation or its end, another logged system call, a session's start
or end, a loss, or a sealed segment."""

Origin = Literal["session", "container", "probe", "hook", "untracked", "node"]
"""Where a process comes from: an API request, the container's own init, the kubelet acting on the pod's spec, an
entry with nothing behind it, or the node itself while it is debugged. Only `untracked` is an alarm."""

State = Literal["confirmed", "unconfirmed", "forged"]
"""How sure the binding of a process to its request is: `unconfirmed` until its AuditSession was seen."""

Outcome = Literal["completed", "never-started", "not-recorded", "ambiguous", "lost"]
"""How a session ended: its entry process exited, no process ever came of it, nothing could watch it, its process
is one that another request may have made as well, or its end was not seen: the enricher or the node restarted."""

Outside = Literal["namespace", "moved"]
"""How a process is outside of its container's cgroup: it came in by a namespace alone, or it left the cgroup."""


class Node(Struct, frozen=True):
    """The node a record was made on."""

    name: str


class Resource(Struct, frozen=True):
    """The container a process ran in."""

    namespace: str
    pod: str
    container: str


class Exit(Struct, frozen=True, omit_defaults=True):
    """How a process ended: by `exit(code)` or by a signal, e.g. `SIGKILL`; never both."""

    code: int | None = None
    signal: str | None = None


class Request(Struct, frozen=True, omit_defaults=True):
    """What was asked of the API server; `command` is absent for requests that carry none (attach)."""

    verb: str
    resource: str
    command: list[str] | None = None
    tty: bool = False


class UserInfo(Struct, frozen=True, omit_defaults=True):
    """Who asked, beyond the name: as admitted (`AdmissionRequest.userInfo`)."""

    groups: list[str] = []
    extra: dict[str, list[str]] = {}


class EnteredFrom(Struct, frozen=True, omit_defaults=True):
    """Where a process comes from that entered a container by its namespaces: read from /proc, a moment later."""

    cgroup: str | None = None
    """The cgroup that it stays in, e.g. `/user.slice/user-1000.slice/session-3.scope`."""
    auid: int | None = None
    """The user that logged in to the node (`loginuid`); absent where none did."""
    ses: int | None = None
    """That login's session."""
    argv: list[str] | None = None
    """What the parent process runs, at most 64 KiB."""


class Record(Struct, kw_only=True, rename="camel", omit_defaults=True, gc=False):
    """One line of a trail.

    Times are UTC with milliseconds (RFC 3339). `pid` is the thread group id in the initial pid namespace; `uid`
    and `gid` are those of the initial user namespace. Bytes that are not UTF-8 stand as `\\xNN`.

    A process is `processKey`, never a bare pid: boot id (first 8 digits), pid and start time in clock ticks
    since boot, as in `/proc/PID/stat` field 22 (proc(5)).
    """

    version: str
    kind: Kind
    audit_id: str = field(name="auditID")
    timestamp: str
    node: Node
    resource: Resource | None
    """The container, or null with a `reason`."""

    # The process.
    pid: int | None = None
    ppid: int | None = None
    uid: int | None = None
    gid: int | None = None
    executable: str | None = None
    """The binary that made the call, i.e. the program before an exec."""
    program: str | None = None
    """The new program of an exec."""
    cmd_line: str | None = None
    argv: list[str] | None = None
    cwd: str | None = None
    syscalls: list[str] | None = None
    process_key: str | None = None
    parent_key: str | None = None
    entry_key: str | None = None
    """The process that entered the container: the root of a session's tree."""
    container_id: str | None = field(name="containerID", default=None)
    exit: Exit | None = None
    duration_ms: int | None = None
    errno: str | None = None
    action: str | None = None
    """What a seccomp filter did with the call, where it did more than log it, e.g. `errno` or `kill_process`."""
    auid: int | None = None
    """The user who had logged in to the node (`loginuid`), where there was one and a SECCOMP event has it."""
    ses: int | None = None
    """That login's session."""

    # Where it comes from.
    origin: Origin | None = None
    user: str | None = None
    request_uid: str | None = field(name="requestUID", default=None)
    state: State | None = None
    candidates: list[str] | None = None
    """UIDs of the requests that may have made this process, where more than one can be meant and none is chosen; with
    origin `node`, those that have the node debugged meanwhile."""
    outside: Outside | None = None
    entered_from: EnteredFrom | None = None

    # Once per session.
    phase: Literal["start", "end"] | None = None
    request: Request | None = None
    user_info: UserInfo | None = None
    image: str | None = None
    pod_uid: str | None = field(name="podUID", default=None)
    cluster_uid: str | None = field(name="clusterUID", default=None)
    """The cluster: the UID of namespace kube-system."""
    processes: int | None = None
    """How many processes the session had when it ended."""
    outcome: Outcome | None = None

    # How far the record can be trusted.
    source: str | None = None
    """What was read: `bpf`, `netlink`, or both joined as `bpf+netlink`."""
    weak: list[str] | None = None
    """The fields that the source cannot guarantee."""
    truncated: list[str] | None = None
    reason: str | None = None
    lost: dict[str, int] | None = None
    """In a gap: how many were lost, by cause."""
    since: str | None = None
    """In a gap, from when on something may be missing, up to `timestamp`; in the end of a session that was not seen,
    when it last was."""
    at_most: dict[str, int] | None = None
    """In a gap whose loss cannot be counted: an upper bound, by what it bounds."""

    # Its place in the node's trail.
    seq: int
    prev: str
    """The seal of the record before: see `exectrail.contracts.seal`."""


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Record)


def encode(record: Record) -> bytes:
    """A record as one line of JSON, with its newline."""
    return _encode(record) + b"\n"


def decode(line: bytes | str) -> Record:
    """Read one line of a trail.

    Raises:
        msgspec.ValidationError: It is JSON, but no record; the message names the field.
        msgspec.DecodeError: It is not JSON.

    """
    return _decoder.decode(line)
