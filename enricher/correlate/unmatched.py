"""What an entry without a tag goes by: its container, its command and the time, or the container's own name."""

from msgspec import Struct

from enricher.containers.containers import Container
from enricher.correlate.sessions import Session, Sessions


class ByCommand(Struct, frozen=True, gc=False):
    """An exec."""

    container: Container
    argvs: frozenset[bytes]
    """What it may have been asked to run: where the sensor was late, also what came of it since."""
    at_ms: int
    """When, in milliseconds since the epoch."""
    weak: tuple[str, ...]
    """What nothing proves of a session that is found so."""
    tagged: bool = False
    """Whether it may have had a tag that was missed."""
    truncated: bool = False

    def meant(self, sessions: Sessions) -> list[str]:
        """UIDs of the requests that may have made it, as far as they are known now."""
        found = (
            sessions.match(self.container, argv, self.at_ms, tagged=self.tagged, truncated=self.truncated)
            for argv in self.argvs
        )
        return sorted({uid for uids in found for uid in uids})


class ByName(Struct, frozen=True, gc=False):
    """The init of an ephemeral container, whose name its pod never gives to another one."""

    container: Container
    weak: tuple[str, ...]
    claim: Session | None = None
    """The session whose UID is in its spec and does not hold."""

    def meant(self, sessions: Sessions) -> list[str]:
        """UIDs of the requests that may have made it, as far as they are known now."""
        return sessions.makers(self.container, self.claim)


Unmatched = ByCommand | ByName
