"""Puts what a checkpoint has kept back into the tree, as far as it is still alive."""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import asdict

from enricher.containers import container_id
from enricher.correlate.backfill import descendants
from enricher.correlate.process_tree import Entry, Node, Tree
from enricher.correlate.sessions import Session
from enricher.events import Process
from enricher.procfs import Proc, ProcessInfo
from enricher.state.checkpoint import Checkpoint, KeptProcess, KeptSession


class Restored(Struct):
    """What came of a checkpoint."""

    sessions: list[Session]
    """Those that were open, alive or not."""
    containers: set[str]
    """The containers that have restored processes."""
    outside: list[tuple[Process, str]]
    """Processes that have left the cgroup of their container, and which that is."""


def restore(kept: Checkpoint, tree: Tree, proc: Proc) -> Restored:
    """Fill a tree with the kept processes that are alive; no sensor may have put anything into it before."""
    sessions = [session_of(each) for each in kept.sessions]
    entries = [
        Entry(
            each.process,
            each.origin,
            None if each.session is None else sessions[each.session],
            candidates=each.candidates,
            processes=each.processes,
            settled=each.origin is not None,
        )
        for each in kept.entries
    ]
    outside: list[tuple[Process, str]] = []
    for each in kept.processes:
        if info := _alive(each, proc):
            container = kept.containers[each.container]
            parent = Process(each.parent_pid, each.parent_start)
            tree.backfill(Node(info.process, parent, container, each.born, entries[each.entry], argv=info.argv))
            if container_id.from_cgroup_file(info.cgroup) != container:
                outside.append((info.process, container))
    if outside:
        outside += _forked(tree, outside, proc.processes())
    open_ones = [each for each in sessions if not each.ended]
    return Restored(open_ones, {node.container_id for node in tree.nodes()}, outside)


def session_of(kept: KeptSession) -> Session:
    """A session that goes on. Its request is kept once it was found to fit."""
    return Session(**asdict(kept), checked=kept.audit is not None, interrupted=True)


def _alive(kept: KeptProcess, proc: Proc) -> ProcessInfo | None:
    info = proc.process(kept.pid)
    return info if info and info.process == Process(kept.pid, kept.start) and not info.gone else None


def _forked(
    tree: Tree, outside: list[tuple[Process, str]], processes: Iterable[ProcessInfo]
) -> list[tuple[Process, str]]:
    """What those outside have forked meanwhile: no look into their container's cgroup finds it."""
    found = descendants(tree, [process for process, _ in outside], processes)
    places = ((info.process, tree.get(info.process)) for info in found)
    return [(process, node.container_id) for process, node in places if node]
