"""Takes processes that ran before the agent into the tree, as far as /proc still shows them.

It does not show how a process came into its container, unless it descends from one that is known, or from the
container's own init. The others are entries of unknown origin: a session that was open, perhaps.

An orphan goes to the container's init, so to be that one's child proves nothing, but for two things that are only ever
inherited: the session of setsid(2), which the runtime begins anew for each process that it sends into a container.
"""

from collections.abc import Iterable

from enricher.correlate.process_tree import Entry, Node, Tree
from enricher.events import Process
from enricher.procfs import ProcessInfo
from enricher.runtimes import is_runtime


def backfill(tree: Tree, container_id: str, processes: Iterable[ProcessInfo]) -> int:
    """Add a container's processes that the tree does not know; returns how many those were."""
    of_container = (info for info in processes if not info.gone and not is_runtime(info.argv))
    oldest_first = sorted(of_container, key=lambda info: (info.process.start, info.process.pid))
    by_pid = {info.process.pid: info for info in oldest_first}
    backfilled = 0
    for info in oldest_first:
        if tree.get(info.process) is None:
            # Parents are older than their children, so they are in the tree by now.
            tree.backfill(_node(tree, container_id, info, by_pid.get(info.parent), is_first=info is oldest_first[0]))
            backfilled += 1
    return backfilled


def descendants(tree: Tree, roots: Iterable[Process], processes: Iterable[ProcessInfo]) -> list[ProcessInfo]:
    """Add what processes outside of their container's cgroup have forked since; returns those that were added.

    Args:
        tree: Knows the roots.
        roots: The processes outside.
        processes: All of the node.

    """
    found: list[ProcessInfo] = []
    above = {root.pid: root for root in roots}
    for info in sorted(processes, key=lambda info: (info.process.start, info.process.pid)):
        parent = tree.get(above[info.parent]) if info.parent in above else None
        if parent and parent.entry and tree.get(info.process) is None and not info.gone:
            tree.backfill(
                Node(info.process, parent.process, parent.container_id, info.process.born, parent.entry, argv=info.argv)
            )
            above[info.process.pid] = info.process
            found.append(info)
    return found


def _node(tree: Tree, container_id: str, info: ProcessInfo, parent: ProcessInfo | None, *, is_first: bool) -> Node:
    above = _alive(tree, info.parent, container_id)
    known = parent.process if parent else above.process if above else Process(info.parent, 0)
    node = Node(info.process, known, container_id, info.process.born, argv=info.argv)
    may_be_orphan = parent is not None and parent.ns_pid == 1
    heir_of = above if above and not may_be_orphan else _alive(tree, info.leader, container_id)
    if heir_of and heir_of.process != info.process:
        node.entry = heir_of.entry
    if node.entry is None:
        is_init = info.ns_pid == 1 or (is_first and not tree.has_init(container_id))
        node.entry = Entry(info.process, "container" if is_init else None)
    return node


def _alive(tree: Tree, pid: int, container_id: str) -> Node | None:
    """The container's process that has this pid now."""
    node = tree.by_pid(pid)
    return node if node and node.container_id == container_id and tree.get(node.process) is node else None
