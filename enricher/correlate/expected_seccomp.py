"""Which events have a SECCOMP record to wait for: those of containers whose profile has the kernel log the call.

The built-in profile is known by its name. What another one logs is not to be seen in a pod's spec, so there experience
tells: a container that has made one such record is taken to make one each time, until an event gets none.

The records of a node come one after another, and a slow auditd holds all of them up: the kernel hands each record to
auditd before it turns to the next (kauditd_thread in kernel/audit.c), and waits for it. So a record that is missing may
only be late, as long as no later one has come.
"""

from enricher.containers.containers import Container
from enricher.correlate.seccomp_correlator import Call

LATE = 10.0
"""How much longer than others an event waits for a SECCOMP record that may be late, in seconds."""
_OUT_OF_ORDER_MS = 1_000
"""How much older than the records before it a record may be, in milliseconds."""


class ExpectedSeccomp:
    """What is expected of each container.

    Args:
        has_audit_source: Whether SECCOMP events come at all.

    """

    def __init__(self, *, has_audit_source: bool = True) -> None:
        self._has_audit_source = has_audit_source
        self._learned: set[tuple[str, Call]] = set()
        self._missing: set[tuple[str, Call]] = set()
        """Calls whose record was waited for in vain, until one comes again: the next one is not taken to be late."""
        self._newest_ms = 0

    def read(self, at_ms: int) -> None:
        """A record of this time was read, whosever it is (milliseconds since the epoch)."""
        if at_ms > self._newest_ms or at_ms < self._newest_ms - _OUT_OF_ORDER_MS:  # the wall clock was set back
            self._newest_ms = at_ms

    def of(self, container: Container, call: Call) -> bool:
        """Whether such a call of this container makes a record."""
        return self._has_audit_source and (container.logged or (container.id, call) in self._learned)

    def may_be_late(self, container: Container, call: Call, at_ms: int) -> bool:
        """Whether the record of a call at this time (milliseconds since the epoch) may come yet.

        Not for what experience tells: a profile that logs some of these calls would hold up the trail for each other.
        """
        if self._newest_ms >= at_ms + _OUT_OF_ORDER_MS:
            return False
        if not self._newest_ms and self._missing:  # none comes at all, of no container
            return False
        return self._has_audit_source and container.logged and (container.id, call) not in self._missing

    def found(self, container_id: str, call: Call) -> None:
        """The SECCOMP event of such a call was found."""
        if self._missing:
            self._missing.discard((container_id, call))

    def came(self, container_id: str, call: Call) -> None:
        """A record of such a call came, and its event did not."""
        self._learned.add((container_id, call))
        self._missing.discard((container_id, call))

    def missed(self, container_id: str, call: Call, *, in_vain: bool) -> None:
        """None came: the profile logs only some of these calls, or the record was lost.

        Args:
            container_id: The caller's container.
            call: What it called.
            in_vain: Whether it was waited for as one that may be late.

        """
        self._learned.discard((container_id, call))
        if in_vain:
            self._missing.add((container_id, call))

    def forget(self, container_id: str) -> None:
        """The container is gone."""
        self._learned = {each for each in self._learned if each[0] != container_id}
        self._missing = {each for each in self._missing if each[0] != container_id}
