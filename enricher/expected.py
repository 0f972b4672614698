"""Which events have a SECCOMP record to wait for: those of containers whose profile has the kernel log the call.

The built-in profile is known by its name. What another one logs is not to be seen in a pod's spec, so there experience
tells: a container that has made one such record is taken to make one each time, until an event gets none.
"""

from enricher.attribute.containers import Container
from enricher.halves import Call


class Expected:
    """What is expected of each container.

    Args:
        records_come: Whether there is a source of SECCOMP records at all.

    """

    def __init__(self, *, records_come: bool = True) -> None:
        self._records_come = records_come
        self._learned: set[tuple[str, Call]] = set()

    def of(self, container: Container, call: Call) -> bool:
        """Whether such a call of this container makes a record."""
        return self._records_come and (container.logged or (container.id, call) in self._learned)

    def came(self, container_id: str, call: Call) -> None:
        """A record of such a call came."""
        self._learned.add((container_id, call))

    def missed(self, container_id: str, call: Call) -> None:
        """None came: the profile logs only some of these calls, or the record was lost."""
        self._learned.discard((container_id, call))

    def forget(self, container_id: str) -> None:
        """The container is gone."""
        self._learned = {each for each in self._learned if each[0] != container_id}
