"""What waits to be written: bounded, and fair by namespace and by user.

A flood must not push out what others did. Whose sessions wait is counted by namespace first, because a caller that
reaches the port can invent user names: namespaces take turns, and in each its users. When the whole is full, the
namespace with the most loses, of its users the one with the most, and of that one's sessions the oldest.
"""

from collections import deque
from typing import Generic, TypeVar

from msgspec import Struct

_ENTRY_BYTES = 512  # what an entry costs beyond its text
_LARGEST = (8 << 10) + _ENTRY_BYTES
"""Bytes of the largest entry. Who has most is counted in these, so one session is never more than another one."""


class Entry(Struct, frozen=True):
    """One AuditSession that waits: as JSON, so that its size is known and bounded."""

    namespace: str
    """Empty for all those that are not known: a caller can invent them."""
    user: str
    body: bytes

    def size(self) -> int:
        """Bytes of memory, about."""
        return len(self.body) + _ENTRY_BYTES


class _Queue:
    """One user's entries in one namespace, oldest first."""

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()
        self.size = 0


class _Namespace:
    """One namespace's queues."""

    def __init__(self) -> None:
        self.users: _Line[_Queue] = _Line(_Queue)
        self.size = 0


Owner = TypeVar("Owner", _Queue, _Namespace)


class _Line(Generic[Owner]):
    """Those who have something that waits, by name, in the order of their turns; each step takes constant time."""

    def __init__(self, new: type[Owner]) -> None:
        self._new: type[Owner] = new
        self.owners: dict[str, Owner] = {}
        self._by_weight: dict[int, dict[str, None]] = {}  # in each, who reached that weight last comes last

    def of(self, name: str) -> Owner:
        return self.owners.setdefault(name, self._new())

    def next(self) -> str:
        """Whose turn it is; the next turn is another one's."""
        name = next(iter(self.owners))
        self.owners[name] = self.owners.pop(name)
        return name

    def heaviest(self) -> str:
        """Who has most; among equals, those who have had so much for longer are spared."""
        return next(reversed(self._by_weight[max(self._by_weight)]))

    def resize(self, name: str, difference: int) -> None:
        """Note that one has so many bytes more or fewer. Who has none leaves the line."""
        owner = self.owners[name]
        before, owner.size = owner.size, owner.size + difference
        if (before and before // _LARGEST != owner.size // _LARGEST) or not owner.size:
            weighed = self._by_weight[before // _LARGEST]
            del weighed[name]
            if not weighed:
                del self._by_weight[before // _LARGEST]
        if owner.size:
            self._by_weight.setdefault(owner.size // _LARGEST, {}).setdefault(name)
        else:
            del self.owners[name]


class FairQueue:
    """A queue of bounded size. Not safe for threads by itself.

    Args:
        most: The most bytes that it holds.

    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._namespaces: _Line[_Namespace] = _Line(_Namespace)
        self.length = 0
        self.size = 0

    def put(self, entry: Entry) -> list[Entry]:
        """Add an entry; returns those that had to go for it."""
        self._namespaces.of(entry.namespace).users.of(entry.user).entries.append(entry)
        self._resize(entry.namespace, entry.user, entry.size())
        self.length += 1
        dropped = []
        while self.size > self._most:
            name = self._namespaces.heaviest()
            dropped.append(self._take(name, self._namespaces.owners[name].users.heaviest()))
        return dropped

    def get(self) -> Entry | None:
        """The oldest entry of the user whose turn it is, of the namespace whose turn it is."""
        if not self.length:
            return None
        name = self._namespaces.next()
        return self._take(name, self._namespaces.owners[name].users.next())

    def _take(self, name: str, user: str) -> Entry:
        entry = self._namespaces.owners[name].users.owners[user].entries.popleft()
        self._resize(name, user, -entry.size())
        self.length -= 1
        return entry

    def _resize(self, name: str, user: str, difference: int) -> None:
        self._namespaces.owners[name].users.resize(user, difference)
        self._namespaces.resize(name, difference)
        self.size += difference
