"""Takes processes that were there before anybody watched into the tree, as far as /proc can still tell.

It cannot tell how a process came into its container, unless it descends from the container's own init: then it
belongs to the container. The others are entries whose origin nobody saw: a session that was open, perhaps.
"""

from collections.abc import Iterable

from enricher.attribute.tree import Entry, Node, Tree
from enricher.events import Process
from enricher.ledgers.glance import TICK_NS
from enricher.ledgers.proc import ProcessInfo

_RUNTIMES = frozenset({b"runc", b"crun", b"youki"})


def adopt(tree: Tree, container_id: str, processes: Iterable[ProcessInfo]) -> int:
    """Add a container's processes that the tree does not know; returns how many those were."""
    of_container = (info for info in processes if not is_runtime(info.argv))
    oldest_first = sorted(of_container, key=lambda info: (info.process.start, info.process.pid))
    by_pid = {info.process.pid: info.process for info in oldest_first}
    adopted = 0
    for info in oldest_first:
        if tree.get(info.process) is None:
            # Parents are older than their children, so they are in the tree by now.
            parent = by_pid.get(info.parent, Process(info.parent, 0))
            tree.adopt(_node(tree, container_id, info, parent, is_first=info is oldest_first[0]))
            adopted += 1
    return adopted


def is_runtime(argv: bytes) -> bool:
    """Whether these are the arguments of the container runtime's own process, on its way into a container.

    Without any, it is in the middle of an exec, or has ended and waits for its parent.
    """
    if not argv:
        return True
    words = argv.split(b"\0", 2)
    return words[0].rpartition(b"/")[2] in _RUNTIMES and words[1:2] in ([b"init"], [b"exec"], [b"create"])


def _node(tree: Tree, container_id: str, info: ProcessInfo, parent: Process, *, is_first: bool) -> Node:
    node = Node(info.process, parent, container_id, info.process.start * TICK_NS, argv=info.argv)
    above = tree.get(parent)
    if above and above.entry:
        node.entry = above.entry
    else:
        is_init = info.ns_pid == 1 or (is_first and not tree.has_init(container_id))
        node.entry = Entry(info.process, "container" if is_init else None)
    return node
