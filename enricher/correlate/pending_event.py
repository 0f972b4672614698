"""A record in the making: an event, and what has been found out about it so far."""

from msgspec import Struct

from enricher.containers.containers import Answer, CgroupRef
from enricher.correlate.process_tree import Entry, Node
from enricher.correlate.sessions import Session
from enricher.events import ProcessEvent, Seccomp


class PendingEvent(Struct, gc=False):
    """Waits in the pipeline until it is complete or overdue."""

    event: ProcessEvent
    place: CgroupRef
    node: Node
    entry: Entry
    deadline: float
    """When it leaves with what is known, in seconds of the monotonic clock."""
    opens: bool = False
    """Whether it is an entry's first exec."""
    half: Seccomp | None = None
    caller: bytes | None = None
    """The program that made the call, where the tree knows it."""
    argv: bytes | None = None
    """What the process runs; of a fork, the parent."""
    superseded: bool = False
    """Whether it failed in one folder of PATH, and the search went on in the next."""
    answer: Answer = Answer(0)
    """What is known of the container; of version 0 before it was asked."""
    session: Session | None = None
    """The session it belongs to, once nothing more is to be found out about that."""
