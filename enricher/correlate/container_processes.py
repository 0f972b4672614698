"""Follows the processes of recorded containers: keeps their tree, and finds the entries among them."""

from enricher.containers.containers import CgroupRef
from enricher.correlate.pending_event import PendingEvent
from enricher.correlate.process_tree import Entry, Node, Tree
from enricher.correlate.sessions import WEAK_UNSEEN, Command, Session, Sessions
from enricher.correlate.tag import tag_of
from enricher.events import CallEvent, ExecEvent, ExitEvent, ForkEvent, ProcessEvent
from enricher.runtimes import is_runtime
from exectrail.contracts.record import Origin


class ContainerProcesses:
    """What runs in containers.

    Args:
        tree: The processes.
        sessions: Binds a tag at the moment that its process enters.

    """

    def __init__(self, tree: Tree, sessions: Sessions) -> None:
        self._tree, self._sessions = tree, sessions

    def follow(self, event: ProcessEvent, ref: CgroupRef) -> PendingEvent | None:
        """Update the tree; None for what the container runtime does on its way into the container."""
        if type(event) is ForkEvent:
            node = self._tree.fork(event, ref.container_id)
            return PendingEvent(event=event, node=node, entry=node.entry, argv=node.argv) if node.entry else None
        if type(event) is ExecEvent:
            return self._exec(event, ref)
        if type(event) is ExitEvent:
            gone = self._tree.exit(event)
            if gone is None or gone.entry is None:
                return None
            return PendingEvent(event=event, node=gone, entry=gone.entry, argv=gone.argv)
        return self._call(event, ref)

    def _exec(self, event: ExecEvent, ref: CgroupRef) -> PendingEvent | None:
        before = self._caller(event, ref)
        if (before is None or before.entry is None) and _is_on_its_way(event):
            return None
        caller = before.program if before else None
        # The runtimes put init and hooks into the container's cgroup; who comes by a namespace may be there before.
        is_sent = not event.entered_by_namespace
        # A runtime gives the init that it sends in other mounts than its own, but not its hooks, which run before that.
        is_hook = is_sent and before is not None and before.entry is None and event.mounts_of_parent
        is_hook = is_hook and not self._tree.has_init(ref.container_id)
        node, is_init = self._tree.exec(event, ref.container_id, may_be_init=is_sent and not is_hook)
        if is_hook:
            node.entry = Entry(event.process, None)
        opens = node.entry is None or self._take_tag(node.entry, event)
        if node.entry is None:
            node.entry = self._entry(event, is_init)
            node.born = event.time
            caller = None  # the runtime's
        return PendingEvent(event=event, node=node, entry=node.entry, opens=opens, caller=caller)

    def _call(self, event: CallEvent, ref: CgroupRef) -> PendingEvent | None:
        caller = self._caller(event, ref)
        if caller is None or caller.entry is None:
            return None
        return PendingEvent(event=event, node=caller, entry=caller.entry, caller=caller.program, argv=caller.argv)

    def _caller(self, event: ExecEvent | CallEvent, ref: CgroupRef) -> Node | None:
        known = self._tree.get(event.process)
        if known or event.entered_by_namespace:
            return known
        return self._tree.missed(event, ref.container_id)

    def _entry(self, event: ExecEvent, is_init: bool) -> Entry:
        # The runtimes put what the API asks for into the container's cgroup: who is not there was not sent by it.
        origin: Origin = "container" if is_init else "untracked"
        session = None if event.entered_by_namespace else self._tagged(event, event.time)
        return Entry(event.process, "session", session, otherwise=origin) if session else Entry(event.process, origin)

    def _take_tag(self, entry: Entry, event: ExecEvent) -> bool:
        """Bind an entry that was found at the start, and whose tag shows only now; False for any other."""
        if entry.origin is not None or entry.process != event.process:
            return False
        if event.entered_by_namespace or event.mounts_of_parent:  # no runtime sent it
            return False
        # It may have been there for long, and then its request is no later one.
        session = self._tagged(event, event.process.born, WEAK_UNSEEN)
        if session:
            entry.origin, entry.session = "session", session
        return session is not None

    def _tagged(self, event: ExecEvent, time: int, weak: tuple[str, ...] = ()) -> Session | None:
        tag = tag_of(event.argv)
        if tag is None:
            return None
        uid, argv = tag
        return self._sessions.bind(event.process, uid, time, "argv", Command(argv, event.truncated), weak)


def _is_on_its_way(event: ExecEvent) -> bool:
    """Whether this is the runtime's own program, which joined the container's cgroup before its namespaces.

    runc executes itself once more on its way in, and mostly joins the cgroup only then; on a busy node it may be there
    already. Its arguments alone prove nothing: a program in a container can have the same.
    """
    return event.mounts_of_parent and event.argv != b"" and is_runtime(event.argv)
