"""The process tree of a session, from its records in any order and with any of them missing.

A process is identified by its `processKey`. It is what it last became: `execve` replaces the program and keeps the
process (execve(2)), so one process has a list of execs. Nothing is guessed: a process of which only the end was seen
stays without a program.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from msgspec import Struct

from exectrail.contracts.record import Exit, Origin, Record, State
from exectrail.contracts.session import TAG_VARIABLE

ABOUT_PROCESSES = ("exec", "clone", "exit", "syscall")
"""Kinds of records."""
_OWN_CALLS = ("execve", "execveat", "clone", "clone3", "fork", "vfork")
"""System calls that a tree shows anyway."""


class Exec(Struct, kw_only=True, rename="camel", omit_defaults=True):
    """A program that a process ran, or, with `errno`, failed to run. `tag` marks the `env` that carries the UID."""

    argv: list[str] | None = None
    cmd_line: str | None = None
    program: str | None = None
    timestamp: str
    errno: str | None = None
    truncated: list[str] = []
    tag: bool = False
    seq: int

    @property
    def words(self) -> list[str] | None:
        """The arguments, without the tag."""
        return self.argv[2:] if self.argv and self.tag else self.argv

    @property
    def name(self) -> str:
        """The program's name, e.g. `ls`; empty if no field has it."""
        called = (self.words or [""])[0] or self.program or (self.cmd_line or "").partition(" ")[0]
        return called.rstrip("/").rpartition("/")[2]


class Process(Struct, kw_only=True, rename="camel", omit_defaults=True):
    """What a session's records say of one process."""

    process_key: str | None
    parent_key: str | None = None
    fork_of: str | None = None
    """For a process that never ran a program of its own: the program its parent was running at the fork."""
    execs: list[Exec] = []
    syscalls: list[str] = []
    pid: int | None = None
    uid: int | None = None
    gid: int | None = None
    cwd: str | None = None
    exit: Exit | None = None
    duration_ms: int | None = None
    origin: Origin | None = None
    state: State | None = None
    reason: str | None = None
    """Why its UID is forged."""
    weak: list[str] = []
    truncated: list[str] = []
    candidates: list[str] = []
    """The requests that it can have come of, where that is more than one."""
    cloned: int | None = None
    """`seq` of its `clone` record."""

    @property
    def programs(self) -> list[Exec]:
        """The execs that succeeded, without the tag's, unless nothing came after it."""
        done = [run for run in self.execs if run.errno is None]
        return [run for run in done if not run.tag] or done[-1:]

    @property
    def runs(self) -> list[Exec]:
        """The same, and among them those that failed, in their order."""
        shown = {run.seq for run in self.programs}
        return [run for run in self.execs if run.errno or run.seq in shown]

    @property
    def calls(self) -> list[str]:
        """System calls besides those that made processes and ran programs."""
        return [name for name in self.syscalls if name not in _OWN_CALLS]


@dataclass
class Node:
    """A process and its children, in the order in which they were first recorded."""

    process: Process
    children: list["Node"] = field(default_factory=list)


def build(records: Iterable[Record]) -> list[Node]:
    """The trees of the processes that the records are about; a process whose parent is not among them is a root."""
    processes = _processes(sorted(records, key=lambda record: (record.node.name, record.seq)))
    _name_forks(processes)
    return _hang(processes)


def walk(roots: list[Node]) -> Iterator[tuple[int, Process]]:
    """Every process with its depth, parents before children. Without recursion: a chain of forks may be long."""
    stack = [(0, node) for node in reversed(roots)]
    while stack:
        depth, node = stack.pop()
        yield depth, node.process
        stack += [(depth + 1, child) for child in reversed(node.children)]


def processes_in(records: Iterable[Record]) -> int:
    """How many processes the records are about."""
    return len({key_of(record) for record in records if record.kind in ABOUT_PROCESSES})


def key_of(record: Record) -> str:
    """Which process a record is about.

    Without a key (no sensor) a record stands for itself: a bare pid may be another process's by now.
    """
    return record.process_key or f"{record.node.name} {record.seq}"


def _processes(records: Collection[Record]) -> list[Process]:
    processes: dict[str, Process] = {}
    for record in records:
        if record.kind in ABOUT_PROCESSES:
            process = processes.setdefault(key_of(record), Process(process_key=record.process_key))
            _add(process, record)
    _say_why_forged(processes, records)
    return list(processes.values())


def _say_why_forged(processes: dict[str, Process], records: Collection[Record]) -> None:
    """Give each process with a forged UID the reason, which stands in the `session` record of its entry alone."""
    why = {
        record.entry_key: record.reason
        for record in records
        if record.kind == "session" and record.state == "forged" and record.phase != "end" and record.reason
    }
    if not why:
        return
    for record in records:
        if record.state == "forged" and record.kind in ABOUT_PROCESSES and record.entry_key:
            processes[key_of(record)].reason = why.get(record.entry_key)


def _add(process: Process, record: Record) -> None:
    """Add what a later record says of a process."""
    if record.kind == "exec":
        process.execs.append(_exec(record, first=not process.execs))
    elif record.kind == "clone" and process.cloned is None:
        process.cloned = record.seq
    for name in ("parent_key", "pid", "uid", "gid", "cwd", "exit", "duration_ms", "origin", "state"):
        value = getattr(record, name)
        if value is not None:
            setattr(process, name, value)
    for name in ("weak", "truncated", "syscalls", "candidates"):
        old, new = getattr(process, name), getattr(record, name) or []
        setattr(process, name, old + [value for value in dict.fromkeys(new) if value not in old])


def _exec(record: Record, *, first: bool) -> Exec:
    return Exec(
        argv=record.argv,
        cmd_line=record.cmd_line,
        program=record.program,
        timestamp=record.timestamp,
        errno=record.errno,
        truncated=record.truncated or [],
        tag=first and _is_tag(record),
        seq=record.seq,
    )


def _is_tag(record: Record) -> bool:
    """Whether this is the `env` put before a session's command.

    Only the entry has it, with the session's own UID. The same words further down were typed by the user, maybe to
    pass for another session: they must be shown.
    """
    argv = record.argv or []
    return (
        len(argv) > 2
        and argv[0].rpartition("/")[2] == "env"
        and argv[1] == f"{TAG_VARIABLE}={record.request_uid}"
        and record.entry_key in (None, record.process_key)
    )


def _name_forks(processes: list[Process]) -> None:
    """Give each process that ran no program of its own the one it was forked from."""
    by_key = {process.process_key: process for process in processes}
    forked_from: dict[str | None, str | None] = {}
    for process in processes:  # parents come first, so a fork of a fork finds what its parent was
        parent = by_key.get(process.parent_key or "")
        if parent is None or process.cloned is None:
            continue
        before = [run.name for run in parent.execs if run.errno is None and run.seq < process.cloned]
        forked_from[process.process_key] = before[-1] if before else forked_from.get(parent.process_key)
        if all(run.errno for run in process.execs):
            process.fork_of = forked_from[process.process_key]


def _hang(processes: list[Process]) -> list[Node]:
    nodes = [Node(process) for process in processes]
    by_key = {node.process.process_key: node for node in nodes if node.process.process_key}
    cut = _circles(by_key)
    roots: list[Node] = []
    for node in nodes:
        parent = None if node.process.process_key in cut else by_key.get(node.process.parent_key or "")
        (parent.children if parent else roots).append(node)
    return roots


def _circles(by_key: dict[str, Node]) -> set[str | None]:
    """One process of each circle of parents: only damaged or forged records make one, and must still be shown."""
    cut: set[str | None] = set()
    settled: set[str | None] = set()
    for start in by_key:
        key: str | None = start
        path: dict[str | None, None] = {start: None}
        while key in by_key and key not in settled:
            key = by_key[key].process.parent_key
            if key in path:
                cut.add(key)
                break
            path[key] = None
        settled.update(path)
    return cut
