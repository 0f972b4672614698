"""The checkpoint: what an enricher knows that neither /proc nor the API could tell the next one.

Which live process belongs to which entry, where each entry came from, which sessions are open, and which UIDs are
taken. Only the trail is evidence; a checkpoint that cannot be read costs knowledge and never a start.
"""

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from enricher.containers.containers import Container
from enricher.correlate.process_tree import Node
from enricher.correlate.sessions import Command, FoundBy, Rejection, Session
from enricher.events import Process
from exectrail.contracts.record import Origin
from exectrail.contracts.session import AuditSession
from exectrail.service import atomic_file
from exectrail.service.atomic_file import Unusable

FORMAT = 1


class KeptSession(Struct, omit_defaults=True):
    """A session that is open, or whose processes go on."""

    request_uid: str
    entry: Process
    started: int = 0
    """Nanoseconds since boot."""
    rejected: Rejection | None = None
    found_by: FoundBy = "request"
    """Kept while its request is not known: afterwards nothing of it is to be compared any more."""
    command: Command | None = None
    weak: tuple[str, ...] = ()
    container: Container | None = None
    audit: AuditSession | None = None
    start_seq: int | None = None
    """`seq` of its start's record; None while that is not sealed."""
    ended: bool = False
    """Whether the record of its end is sealed."""


class KeptEntry(Struct, omit_defaults=True):
    """An entry, see `enricher.correlate.process_tree.Entry`; the session is a place in the list of sessions."""

    process: Process
    origin: Origin | None = None
    session: int | None = None
    candidates: list[str] = []
    processes: int = 1


class KeptProcess(Struct, array_like=True, frozen=True):
    """A live process: its pid and start, its parent's, when it was born (ns since boot), and whose it is.

    `container` and `entry` are places in lists: there may be many processes.
    """

    pid: int
    start: int
    parent_pid: int
    parent_start: int
    born: int
    container: int
    entry: int


class Checkpoint(Struct, kw_only=True):
    """What is kept."""

    format: int = FORMAT
    boot_id: str
    seq: int = -1
    """The last record that was sealed: what the trail has beyond it is newer than this."""
    containers: list[str] = []
    sessions: list[KeptSession] = []
    entries: list[KeptEntry] = []
    processes: list[KeptProcess] = []
    bound: dict[str, Process] = {}
    """The entry that each UID is bound to."""


def encode(checkpoint: Checkpoint) -> bytes:
    """As JSON; cut anywhere, it is none."""
    return msgspec.json.encode(checkpoint)


def decode(data: bytes) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        Unusable: It is cut, damaged, or of a format that is not known here.

    """
    found = atomic_file.decode(data, Checkpoint, FORMAT, "the checkpoint")
    _check(found)
    return found


def _check(found: Checkpoint) -> None:
    """Every place that is named is there."""
    places = [(each.container, len(found.containers)) for each in found.processes]
    places += [(each.entry, len(found.entries)) for each in found.processes]
    places += [(each.session, len(found.sessions)) for each in found.entries if each.session is not None]
    if any(not 0 <= place < size for place, size in places):
        raise Unusable("checkpoint-unreadable", "the checkpoint cannot be read: it names what is not in it")


def take(
    boot_id: str, seq: int, nodes: Iterable[Node], open_sessions: Iterable[Session], bound: Mapping[str, Process]
) -> Checkpoint:
    """What is to be kept of a tree's processes and of the sessions, as they are now."""
    made = Checkpoint(boot_id=boot_id, seq=seq, bound=dict(bound))
    sessions: dict[int, int] = {}
    entries: dict[int, int] = {}
    containers: dict[str, int] = {}

    def session_at(session: Session) -> int:
        if id(session) not in sessions:
            sessions[id(session)] = len(made.sessions)
            made.sessions.append(_kept(session))
        return sessions[id(session)]

    for session in open_sessions:
        session_at(session)
    for node in nodes:
        entry = node.entry
        if entry is None:  # the container runtime's own, on its way
            continue
        if id(entry) not in entries:
            entries[id(entry)] = len(made.entries)
            at = session_at(entry.session) if entry.session else None
            # Until its first record has left, an entry is `untracked` only for want of what explains it.
            origin = None if entry.origin == "untracked" and not entry.settled else entry.origin
            made.entries.append(KeptEntry(entry.process, origin, at, list(entry.candidates), entry.processes))
        container = containers.setdefault(node.container_id, len(containers))
        process, parent = node.process, node.parent
        made.processes.append(
            KeptProcess(process.pid, process.start, parent.pid, parent.start, node.born, container, entries[id(entry)])
        )
    made.containers = list(containers)
    return made


def _kept(session: Session) -> KeptSession:
    is_open = not session.checked
    return KeptSession(
        session.request_uid,
        session.entry,
        session.started,
        session.rejected,
        session.found_by if is_open else "request",
        session.command if is_open else None,
        session.weak,
        # What the kubelet runs in it is in the pod's spec, and would be no key of JSON.
        replace(session.container, kubelet_commands={}) if session.container else None,
        None if is_open else session.audit,
        session.start_seq,
        session.ended,
    )
