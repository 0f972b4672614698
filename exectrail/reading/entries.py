"""Who came into containers without a request: each entry with what it ran and where it came from."""

from collections.abc import Iterable

from msgspec import Struct, field

from exectrail.contracts.record import EnteredFrom, Exit, Record

MOST_PROGRAMS = 100
"""So many programs of an entry are kept; `execs` counts all."""


class Untracked(Struct, kw_only=True, rename="camel", omit_defaults=True):
    """One entry: a process that came into a container from outside, and its descendants."""

    time: str
    """Of its first record."""
    node: str
    namespace: str | None = None
    pod: str | None = None
    container: str | None = None
    container_id: str | None = field(name="containerID", default=None)
    entry_key: str | None = None
    uid: int | None = None
    entered_from: EnteredFrom | None = None
    auid: int | None = None
    """The user that had logged in to the node, if a record has it."""
    ses: int | None = None
    """That login's session."""
    programs: list[list[str]] = []
    """What it ran, with arguments, in its order; failed ones end in their error."""
    execs: int = 0
    processes: int = 0
    exit: Exit | None = None
    """How the entry itself ended."""


def untracked(records: Iterable[Record]) -> list[Untracked]:
    """The entries that untracked records are about, in the order in which they came.

    Holds the entries and their first programs, whatever the length of the trail.
    """
    entries: dict[str, Untracked] = {}
    seen: dict[str, set[str]] = {}
    for record in records:
        if record.origin != "untracked":
            continue
        # Without a key (no sensor) a record stands for itself.
        key = f"{record.node.name} {record.entry_key or record.process_key or record.seq}"
        entry = entries.get(key)
        if entry is None:
            entry = entries[key] = Untracked(time=record.timestamp, node=record.node.name, entry_key=record.entry_key)
            seen[key] = set()
        _add(entry, record, seen[key])
    return sorted(entries.values(), key=lambda entry: entry.time)


def _add(entry: Untracked, record: Record, processes: set[str]) -> None:
    if record.resource:
        entry.namespace, entry.pod, entry.container = (
            record.resource.namespace,
            record.resource.pod,
            record.resource.container,
        )
    entry.container_id = entry.container_id or record.container_id
    entry.entered_from = entry.entered_from or record.entered_from
    if entry.uid is None:
        entry.uid = record.uid
    login = record.entered_from
    if entry.auid is None:
        entry.auid = record.auid if record.auid is not None else login.auid if login else None
    if entry.ses is None:
        entry.ses = record.ses if record.ses is not None else login.ses if login else None
    if record.process_key:
        processes.add(record.process_key)
        entry.processes = len(processes)
    if record.kind == "exec":
        entry.execs += 1
        if len(entry.programs) < MOST_PROGRAMS:
            words = record.argv or [record.cmd_line or record.program or "?"]
            entry.programs.append([*words, f"[failed: {record.errno}]"] if record.errno else words)
    elif record.kind == "exit" and record.process_key == entry.entry_key:
        entry.exit = record.exit
