"""The process tree: who descends from whom, and which of them entered a container from outside.

A process is born in a container when its fork was seen there. One that was not is an outsider: the container's own
init, or an entry (`kubectl exec`, a probe, `nsenter`). What an entry is bound to goes to all that it forks,
whatever they do to their environment, session or parent.
"""

from collections import defaultdict, deque

from msgspec import Struct

from enricher.argv import shortened
from enricher.correlate.sessions import Session
from enricher.events import CallEvent, ExecEvent, ExitEvent, ForkEvent, Process
from exectrail.contracts.record import Origin

_WHOLE = 8 << 20
"""Bytes of long arguments that are kept whole, of all entries together: anyone can start any number of processes."""


class Entry(Struct):
    """What a process that came into a container from outside brings along, shared by all its descendants."""

    process: Process
    origin: Origin | None
    """None where it came before anybody watched."""
    session: Session | None = None
    claim: Session | None = None
    """A session whose UID it carried and that turned out not to be its own."""
    otherwise: Origin | None = None
    """What its origin is where the UID that it carries does not hold."""
    candidates: list[str] = []
    """UIDs of the requests that may have made it, where more than one can be meant."""
    processes: int = 1
    """How many there have been, itself included."""
    settled: bool = False
    """Whether its first record has left: before, its origin may be another one yet."""


class Node(Struct):
    """A live process."""

    process: Process
    parent: Process
    container_id: str
    born: int
    """Nanoseconds since boot."""
    entry: Entry | None = None
    """None until its first exec in the container: the runtime's own processes never have one."""
    program: bytes | None = None
    argv: bytes | None = None
    """Whole where a request may be looked for by them: of an entry's own process. Else `shortened`, as where there are
    too many of those."""


class Tree:
    """All live processes of recorded containers, by identity. Memory follows the number of live processes, not what
    they run.

    Args:
        most: How many are followed; beyond, one of the container that has most is forgotten and counted: its oldest
            that did not come in from outside. What it starts later looks as if it came from outside.

    """

    def __init__(self, most: int = 65_536) -> None:
        self.evicted = 0
        self.version = 0
        """Rises whenever a process comes or goes."""
        self._most = most
        self._nodes: dict[Process, Node] = {}
        self._of: defaultdict[str, dict[Process, Node]] = defaultdict(dict)
        """The same by container."""
        self._by_pid: dict[int, Node] = {}
        self._gone: deque[tuple[int, Node]] = deque()
        self._whole: dict[Process, int] = {}
        """How long the arguments are that are kept whole though they are long."""
        self._whole_bytes = 0
        self._inits: dict[str, Process] = {}
        """The first process that ran a program in each container: its own init."""

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, process: Process) -> Node | None:
        """The process, if it is alive and known."""
        return self._nodes.get(process)

    def by_pid(self, pid: int) -> Node | None:
        """The process that has this pid or had it last, until it is `forgotten`: for records that know no more."""
        return self._by_pid.get(pid)

    def processes(self) -> list[Process]:
        """All that are alive."""
        return list(self._nodes)

    def of_container(self, container_id: str) -> list[Process]:
        """Those of a container that are alive."""
        return list(self._of.get(container_id, ()))

    def containers(self) -> set[str]:
        """Those of which anything is remembered, by id."""
        return self._inits.keys() | self._of.keys()

    def nodes(self) -> list[Node]:
        """All that are alive, parents before their children."""
        return list(self._nodes.values())

    def unexplained(self) -> list[Node]:
        """The live entries whose origin is unknown."""
        return [
            node
            for node in self._nodes.values()
            if node.entry and node.entry.origin is None and node.entry.process == node.process
        ]

    def backfill(self, node: Node) -> None:
        """Take in a process that was there before; its container's init is known by its entry."""
        self._add(node)
        self._runs(node, node.argv)
        if node.entry and node.entry.origin == "container":
            self._inits.setdefault(node.container_id, node.entry.process)

    def has_init(self, container_id: str) -> bool:
        """Whether the container's own init has been seen."""
        return container_id in self._inits

    def inits(self) -> dict[str, Process]:
        """The containers' own inits that are alive, by container."""
        return {container_id: process for container_id, process in self._inits.items() if process in self._nodes}

    def fork(self, event: ForkEvent, container_id: str) -> Node:
        """A process is born; it inherits its parent's program and entry."""
        parent = self._nodes.get(event.parent)
        node = Node(event.child, event.parent, container_id, event.time)
        if parent:
            node.entry, node.program = parent.entry, parent.program
            if parent.entry:
                parent.entry.processes += 1
        self._add(node)
        if parent:
            self._runs(node, parent.argv)
        return node

    def missed(self, event: ExecEvent | CallEvent, container_id: str) -> Node | None:
        """Take in a process whose fork was not seen, by its present parent; None where that is unknown.

        It was born just before anybody watched, or its fork was lost. Who has lost its parent goes to an ancestor, or
        to the first process of its pid namespace (`find_new_reaper` in the kernel's exit.c): of a child of the
        container's init the origin is unknown.
        """
        parent = self._nodes.get(event.parent)
        if parent is None or parent.entry is None or parent.container_id != container_id:
            return None
        node = Node(event.process, event.parent, container_id, event.process.born, parent.entry)
        if self._inits.get(container_id) == event.parent:
            node.entry = Entry(event.process, None)
        else:
            parent.entry.processes += 1
        self._add(node)
        return node

    def exec(self, event: ExecEvent, container_id: str, *, may_be_init: bool = True) -> tuple[Node, bool]:
        """A process runs a program: the process with its new program, and whether it is the container's init.

        The caller decides what an outsider is (`entry` is still None) and sets it.

        Args:
            event: The exec.
            container_id: Its container.
            may_be_init: Whether the first one is the container's init, as far as the caller knows.

        """
        node = self._nodes.get(event.process)
        if node is None:
            node = Node(event.process, event.parent, container_id, event.time)
            self._add(node)
        node.program = event.filename
        self._runs(node, event.argv)
        self.version += node.entry is None
        if not may_be_init:
            return node, False
        first = self._inits.setdefault(container_id, event.process) == event.process
        return node, first and node.entry is None

    def exit(self, event: ExitEvent) -> Node | None:
        """A process is gone; it stays its container's init, so that nothing later is taken for one."""
        node = self._nodes.pop(event.process, None)
        if node:
            self._take_out(node)
            self._gone.append((event.time, node))
        return node

    def forget_gone(self, before: int) -> None:
        """Forget the processes that ended before this time (nanoseconds since boot)."""
        while self._gone and self._gone[0][0] < before:
            _, node = self._gone.popleft()
            if self._by_pid.get(node.process.pid) is node:
                del self._by_pid[node.process.pid]

    def forget_container(self, container_id: str) -> None:
        """The container is gone, or no longer recorded."""
        self._inits.pop(container_id, None)
        for node in list(self._of.get(container_id, {}).values()):
            self._drop(node)

    def _runs(self, node: Node, argv: bytes | None) -> None:
        """Keep what a process runs now."""
        self._whole_bytes -= self._whole.pop(node.process, 0)
        node.argv = short = argv and shortened(argv)
        if argv is None or short is argv or node.process not in self._nodes:
            return
        is_entry = node.entry is None or node.entry.process == node.process
        if is_entry and self._whole_bytes + len(argv) <= _WHOLE:
            self._whole[node.process] = len(argv)
            self._whole_bytes += len(argv)
            node.argv = argv

    def _add(self, node: Node) -> None:
        self.version += 1
        self._nodes[node.process] = self._of[node.container_id][node.process] = node
        self._by_pid[node.process.pid] = node
        if len(self._nodes) > self._most:
            self._drop(self._too_many())
            self.evicted += 1

    def _too_many(self) -> Node:
        """Who is to go: never another container's session, for one container's flood, while there is another one."""
        crowd = max(self._of.values(), key=len)
        forked = (node for node in crowd.values() if node.entry is None or node.entry.process != node.process)
        return next(forked, None) or next(iter(crowd.values()))

    def _drop(self, node: Node) -> None:
        del self._nodes[node.process]
        self._take_out(node)
        if self._by_pid.get(node.process.pid) is node:
            del self._by_pid[node.process.pid]

    def _take_out(self, node: Node) -> None:
        self.version += 1
        self._whole_bytes -= self._whole.pop(node.process, 0)
        family = self._of[node.container_id]
        del family[node.process]
        if not family:
            del self._of[node.container_id]
