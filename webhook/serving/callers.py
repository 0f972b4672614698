"""Connections and bytes by address, and which connection ends when there are too many or one takes too long.

Decisions only, no sockets. Refusing newcomers would let any client lock out the API server by coming first. Instead the
address that holds most gives up a connection: the API server's calls are over in milliseconds, so it holds few.
"""

import ipaddress
import time
from collections.abc import Callable, Iterator
from enum import Enum

from msgspec import Struct


class Limits(Struct, frozen=True):
    """What callers may take, in numbers, bytes and seconds; together they fit into half of the chart's memory limit."""

    connections: int = 256
    """Of all callers together; one with TLS takes 30 to 40 KiB, and up to 80 while its answer is on the way."""
    address_connections: int = 128
    """Of one address: an API server has at most 200 changing requests in work, over all replicas of the webhook."""
    handshakes: int = 32
    """Of these, in the middle of their TLS handshakes, when one takes twice that."""
    idle_seconds: float = 120.0
    """Longer than the API server keeps an idle connection (90 s), else it writes into one that just closes."""
    handshake_seconds: float = 5.0
    """From the connection to its first byte, and from there to the end of its TLS handshake."""
    header_seconds: float = 5.0
    body_seconds: float = 10.0
    """From the end of the headers to the end of the body."""
    answer_seconds: float = 10.0
    """From the end of the body until the caller has taken the answer."""
    header_bytes: int = 64 << 10
    """Of all that is not body: headers, trailers, the frames of chunks."""
    body_bytes: int = 10 << 20
    """Of all bodies together that are not answered yet, and of answers that are not taken yet."""


class Stage(Enum):
    """What a connection waits for; the value is the reason why it ends when that takes too long."""

    ARRIVED = "arrival-timeout"
    """It has said nothing yet."""
    HANDSHAKE = "handshake-timeout"
    IDLE = "idle-timeout"
    HEADERS = "header-timeout"
    BODY = "body-timeout"
    DECISION = "answer-timeout"
    """Its request is complete: the wait is ours, as long as it takes its answers."""
    UNREAD = "unread-timeout"
    """It does not take an answer."""


class Connection:
    """One connection. Its protocol keeps it up to date."""

    def __init__(self, address: str, abort: Callable[[], None]) -> None:
        self.address, self.abort = address, abort
        self.stage, self.since = Stage.ARRIVED, time.monotonic()
        self.answered = False
        """Whether a complete request of it was ever answered."""
        self.held = 0
        """Bytes of body or answer in memory."""
        self.unsent: Callable[[], int] = lambda: 0
        """Bytes of answers that the caller has not taken yet."""

    def enter(self, stage: Stage) -> None:
        """Begin to wait for something else."""
        self.stage, self.since = stage, time.monotonic()


class Callers:
    """All connections, by address. `ended` is called with each that has to go, and the reason."""

    def __init__(self, limits: Limits, ended: Callable[[Connection, str], None]) -> None:
        self.limits, self._ended = limits, ended
        self.held = 0
        """Bytes that all connections hold."""
        self._of: dict[str, set[Connection]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Connection]:
        return (each for own in self._of.values() for each in own)

    def __contains__(self, connection: Connection) -> bool:
        return connection in self._of.get(connection.address, ())

    def add(self, connection: Connection) -> None:
        """Take one in; where that is one too many, another one ends."""
        own = self._of.setdefault(connection.address, set())
        own.add(connection)
        self._count += 1
        if len(own) > self.limits.address_connections:
            self._end_one(own, "address-connections", spared=connection)
        elif self._count > self.limits.connections:
            self._end_one(max(self._of.values(), key=len), "connections", spared=connection)

    def begin(self, connection: Connection) -> None:
        """Note that its TLS handshake begins; where that is one too many, another one ends."""
        connection.enter(Stage.HANDSHAKE)
        begun = [{each for each in own if each.stage is Stage.HANDSHAKE} for own in self._of.values()]
        if sum(len(own) for own in begun) > self.limits.handshakes:
            self._end_one(max(begun, key=len), "handshakes", spared=connection)

    def remove(self, connection: Connection) -> None:
        """Forget one that has ended by itself; nothing where it is forgotten already."""
        if connection not in self:
            return
        own = self._of[connection.address]
        own.remove(connection)
        if not own:
            del self._of[connection.address]
        self._count -= 1
        self.held -= connection.held
        connection.held = 0

    def end(self, connection: Connection, reason: str) -> None:
        """End one."""
        if connection in self:
            self.remove(connection)
            self._ended(connection, reason)
            connection.abort()

    def hold(self, connection: Connection, held: int) -> None:
        """Note how many bytes a connection holds now; where all hold too many, some end, of the address with most."""
        if connection not in self:
            return
        grown = held > connection.held
        self.held += held - connection.held
        connection.held = held
        while grown and self.held > self.limits.body_bytes:
            most = max(self._of.values(), key=lambda own: sum(each.held for each in own))
            self._end_one({each for each in most if each.held}, "body-bytes")

    def make_room(self) -> bool:
        """End one that never had an answer, of the address with most of these; whether there was one."""
        idle = [
            {each for each in own if not (each.answered or each.stage is Stage.DECISION)} for own in self._of.values()
        ]
        most = max(idle, key=len, default=set())
        if most:
            self._end_one(most, "files")
        return bool(most)

    def end_overdue(self) -> None:
        """End what has waited too long; to be called now and then."""
        now = time.monotonic()
        for connection in list(self):
            if connection.stage is Stage.UNREAD:
                self.hold(connection, unsent := connection.unsent())
                if not unsent:
                    connection.enter(Stage.IDLE)
            if now - connection.since > self._timeout(connection.stage):
                self.end(connection, connection.stage.value)

    def _timeout(self, stage: Stage) -> float:
        return {
            Stage.ARRIVED: self.limits.handshake_seconds,
            Stage.HANDSHAKE: self.limits.handshake_seconds,
            Stage.IDLE: self.limits.idle_seconds,
            Stage.HEADERS: self.limits.header_seconds,
            Stage.BODY: self.limits.body_seconds,
            Stage.DECISION: self.limits.answer_seconds,
            Stage.UNREAD: self.limits.answer_seconds,
        }[stage]

    def _end_one(self, among: set[Connection], reason: str, spared: Connection | None = None) -> None:
        """End the one that deserves it most; not the newest, or a full house could never be entered."""
        others = among - {spared} if spared else among
        self.end(min(others or among, key=_worth), reason)


def _worth(connection: Connection) -> tuple[bool, bool, bool, float]:
    """Those come last whose request is complete, before them those that had one answered, then those that begin TLS.

    These are few and soon done, and have sent a whole record; among the others, and among equals, who waits for less.
    """
    stage = connection.stage
    return stage is Stage.DECISION, connection.answered, stage is Stage.HANDSHAKE, connection.since


def address_of(host: str) -> str:
    """What a connection counts for: an IPv4 address, or the /64 of an IPv6 one, of which each machine has plenty."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or ipaddress.ip_network((address, 64), strict=False))
    return str(address)
