"""The record: one JSON line of a trail, and the only thing that the parts of exectrail exchange on disk.

Keys that the Security Profiles Operator's `spo/v1_alpha` lines have keep their names, types and meaning; the
others are added. A key that is absent is unknown or does not apply: nothing is ever guessed.
"""

from typing import Literal

import msgspec
from msgspec import Struct, field

VERSION = "spo/v1_alpha"

Kind = Literal["exec", "clone", "syscall", "exit", "session", "gap", "digest"]
"""What a record tells: a process's exec, its creation or its end, another logged system call, a session's start
or end, a loss, or a sealed segment."""

Origin = Literal["session", "container", "probe", "hook", "untracked"]
"""Where a process comes from: an API request, the container's own init, the kubelet acting on the pod's spec, or
an entry with nothing behind it. Only the last one is an alarm."""

State = Literal["confirmed", "unconfirmed", "forged"]
"""How sure the binding of a process to its request is: `unconfirmed` until the request was seen in the ledger."""

Outcome = Literal["completed", "never-started", "not-recorded"]
"""How a session ended: its entry process exited, no process ever came of it, or nothing could watch it."""


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


class Record(Struct, kw_only=True, rename="camel", omit_defaults=True):
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

    # Where it comes from.
    origin: Origin | None = None
    user: str | None = None
    request_uid: str | None = field(name="requestUID", default=None)
    state: State | None = None
    candidates: list[str] | None = None
    """UIDs of the requests that may have made this process, where more than one can be meant and none is chosen."""

    # What is said once per session.
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
    """The fields that the source cannot vouch for."""
    truncated: list[str] | None = None
    reason: str | None = None
    lost: dict[str, int] | None = None
    """In a gap: how many were lost, by cause."""

    # Its place in the node's trail.
    seq: int
    prev: str
    """The seal of the record before: see `exectrail.seal`."""


_decoder = msgspec.json.Decoder(Record)


def encode(record: Record) -> bytes:
    """A record as one line of JSON, with its newline."""
    return msgspec.json.encode(record) + b"\n"


def decode(line: bytes | str) -> Record:
    """Read one line of a trail.

    Raises:
        msgspec.ValidationError: It is JSON, but no record; the message names the field.
        msgspec.DecodeError: It is not JSON.

    """
    return _decoder.decode(line)
