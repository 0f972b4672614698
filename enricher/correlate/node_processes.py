"""What the node itself runs while a pod to debug it is open.

Who is in such a pod can have the node's own daemons run programs (systemd-run, cron, a container runtime's socket):
those leave the session's tree. So every program that the node runs meanwhile is reported, with the sessions that it may
have to do with. The tree is one of its own: a runtime's helper that goes into a container must not take that along.
"""

from enricher.containers.containers import Containers
from enricher.correlate.pending_event import PendingEvent
from enricher.correlate.process_tree import Entry, Node, Tree
from enricher.events import ExecEvent, ExitEvent, ForkEvent, Process, ProcessEvent

_MOST = 8_192


class NodeProcesses:
    """The node's processes that have run a program since the first of those pods was opened.

    Args:
        containers: Knows which of those pods are open.

    """

    def __init__(self, containers: Containers) -> None:
        self._containers = containers
        self._tree = Tree(_MOST)

    def follow(self, event: ProcessEvent) -> PendingEvent | None:
        """An event's record in the making; None for the end of a process that has run nothing in this time."""
        match event:
            case ExecEvent():
                return self._exec(event)
            case ExitEvent():
                gone = self._tree.exit(event)
                self._tree.forget_gone(event.time + 1)
                if gone is None or gone.entry is None:
                    return None
                return PendingEvent(event=event, node=gone, entry=gone.entry, argv=gone.argv)
            case ForkEvent():  # the kernel tells of none
                return None
            case _:
                node = self._tree.get(event.process) or Node(event.process, event.parent, "", event.time)
                entry = node.entry or self._entry(event.process)
                return PendingEvent(event=event, node=node, entry=entry, caller=node.program, argv=node.argv)

    def forget(self) -> None:
        """No pod to debug the node is open any more."""
        self._tree = Tree(_MOST)

    def _exec(self, event: ExecEvent) -> PendingEvent:
        before = self._tree.get(event.process)
        caller = before.program if before else None
        node, _ = self._tree.exec(event, "")
        node.entry = node.entry or self._entry(event.process)
        return PendingEvent(event=event, node=node, entry=node.entry, caller=caller)

    def _entry(self, process: Process) -> Entry:
        return Entry(process, "node", candidates=self._containers.node_debuggers())
