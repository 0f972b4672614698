"""An event on its way through the correlator, and what comes out of it."""

from msgspec import Struct

from enricher.containers.containers import Answer, CgroupRef, Container
from enricher.correlate.process_tree import Entry, Node
from enricher.correlate.sessions import Session
from enricher.correlate.unmatched import Unmatched
from enricher.events import ProcessEvent, SeccompEvent


class Owner(Struct, gc=False):
    """Which container and which entry something belongs to, as far as that is known."""

    container: Container | None = None
    container_id: str = ""
    entry: Entry | None = None


class Correlated(Owner, gc=False, kw_only=True):
    """All that is known of an event when it leaves the correlator."""

    event: ProcessEvent | SeccompEvent
    """A `SeccompEvent` where no process event belongs to it."""
    node: Node | None = None
    """The process; None where no sensor saw it."""
    seccomp: SeccompEvent | None = None
    """The SECCOMP event of the same system call, once that is found."""
    caller: bytes | None = None
    """The program that made the call, where the tree knows it."""
    argv: bytes | None = None
    """What the process runs; of a fork, the parent."""
    opens: bool = False
    """Whether it is an entry's first exec."""
    session: Session | None = None
    """The session it belongs to, once that is decided."""
    unmatched: Unmatched | None = None
    """What it goes by where no request was found for it, in time."""


class PendingEvent(Correlated, gc=False, kw_only=True):
    """Waits until its container, its session and its SECCOMP event are known, or its deadline has passed."""

    event: ProcessEvent
    node: Node
    entry: Entry
    cgroup_ref: CgroupRef = CgroupRef()
    deadline: float = 0.0
    """When it leaves with what is known, in seconds of the monotonic clock."""
    answer: Answer = Answer(0)
    """What is known of the container; of version 0 before the first look."""
    superseded: bool = False
    """Whether the exec failed in one folder of PATH, and the search went on in the next."""
