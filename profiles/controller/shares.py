"""Which AuditSessions go when there are too many: who has most of them loses the oldest.

Without opting in, AuditSessions are the only record. By age alone, one user with a loop would delete everybody else's.
So a namespace keeps a share, and in it each user: of the namespace with most, the user with most loses the oldest,
one at a time, until no more are there than may be. Of N that may stay, each namespace keeps at least its newest N
divided by the number of namespaces, and each user of a namespace the same part of that.
"""

from collections.abc import Iterable
from datetime import datetime
from heapq import heapify, heapreplace

from msgspec import Struct

Age = tuple[datetime, datetime, str]
"""When a session was stored, precise to the second; when it was asked for, which decides within one; its name."""


class Aged(Struct, frozen=True):
    """An AuditSession, as far as its age and its share count."""

    age: Age
    namespace: str
    user: str


class _Own:
    """What one user has in one namespace, the newest first."""

    def __init__(self) -> None:
        self.ages: list[Age] = []

    def __lt__(self, other: "_Own") -> bool:
        """Whether it is the first to lose one: it has more, or as many and an older one."""
        return _before(len(self.ages), self.ages[-1:], len(other.ages), other.ages[-1:])

    def lose(self) -> str:
        return self.ages.pop()[-1]


class _Namespace:
    """What one namespace has; `users` is a heap."""

    def __init__(self, users: list[_Own]) -> None:
        self.users = users
        self.length = sum(len(own.ages) for own in users)
        heapify(users)

    def __lt__(self, other: "_Namespace") -> bool:
        return _before(self.length, self.users[0].ages[-1:], other.length, other.users[0].ages[-1:])

    def lose(self) -> str:
        name = self.users[0].lose()
        heapreplace(self.users, self.users[0])
        self.length -= 1
        return name


def surplus(sessions: Iterable[Aged], most: int) -> list[str]:
    """The names of those that go, in that order, so that at most so many stay. Takes n log n steps."""
    owned: dict[str, dict[str, _Own]] = {}
    length = 0
    for session in sessions:
        owned.setdefault(session.namespace, {}).setdefault(session.user, _Own()).ages.append(session.age)
        length += 1
    if length <= most:
        return []
    for users in owned.values():
        for own in users.values():
            own.ages.sort(reverse=True)
    namespaces = [_Namespace(list(users.values())) for users in owned.values()]
    heapify(namespaces)
    gone: list[str] = []
    while length > most:
        gone.append(namespaces[0].lose())
        heapreplace(namespaces, namespaces[0])
        length -= 1
    return gone


def _before(length: int, oldest: list[Age], other_length: int, other_oldest: list[Age]) -> bool:
    # An empty list of ages comes last: it has lost all.
    return length > other_length or (length == other_length and bool(oldest) and oldest < other_oldest)
