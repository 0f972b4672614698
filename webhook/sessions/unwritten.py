"""Lists the requests whose AuditSessions were not written where they can be reconciled: in a ConfigMap of the release.

Each replica has a key of its own there, and writes it in a thread of its own, now and then: no request waits for that,
and a flood costs etcd no more than one who drops a session a minute.
"""

import logging
from collections import deque
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Struct, field

from exectrail.contracts.session import AuditSession
from exectrail.contracts.unreadable import UNREADABLE
from exectrail.contracts.unwritten import Unwritten, UnwrittenList
from exectrail.k8s.client import ApiError, Client
from exectrail.service.backoff import Backoff
from exectrail.service.worker import Worker

MOST_SESSIONS = 500
"""In each list; older ones are only counted."""
MOST_BYTES = 128 << 10
"""Of each list."""
_MOST_BYTES_OF_ALL = 768 << 10  # the API server takes ConfigMaps of 1 MiB
_KEPT = timedelta(days=30)
_EVERY_SECONDS = 30.0
_BACKOFF_FIRST, _BACKOFF_MOST = 1.0, 60.0

log = logging.getLogger(__name__)


class _ConfigMap(Struct, frozen=True):
    data: dict[str, str] = field(default_factory=dict)


class UnwrittenSessions:
    """What this replica could not write, on its way to the ConfigMap.

    Args:
        client: Where to write.
        namespace: The ConfigMap's.
        name: The ConfigMap's; it is there, the chart makes it.
        own: This replica's name, the pod's: it has the key from before where its container was started anew.
        every: Seconds between two writes, at least.

    """

    def __init__(self, client: Client, namespace: str, name: str, own: str, every: float = _EVERY_SECONDS) -> None:
        self._client, self._own, self._every = client, own, every
        self._path = f"/api/v1/namespaces/{namespace}/configmaps/{name}"
        self._waiting: deque[Unwritten] = deque(maxlen=MOST_SESSIONS)
        self._omitted = 0
        self._worker = Worker("unwritten sessions", self._run)

    def start(self) -> None:
        """Begin to write."""
        self._worker.start()

    def add(self, session: AuditSession, cause: str) -> None:
        """Take a session that was not written; returns at once."""
        spec = session.spec
        listed = Unwritten(
            session.metadata.name,
            spec.user.username,
            spec.target.namespace,
            spec.target.pod,
            spec.verb,
            spec.time,
            cause,
        )
        with self._worker.changing():
            self._omitted += len(self._waiting) == MOST_SESSIONS
            self._waiting.append(listed)

    def close(self, seconds: float) -> None:
        """Write what waits, once, if that takes no longer than this."""
        self._worker.close(seconds)

    def _run(self) -> None:
        backoff = Backoff(_BACKOFF_FIRST, _BACKOFF_MOST)
        last = False
        while not last:
            with self._worker.when(lambda: self._waiting):
                last = self._worker.closing
                fresh, omitted = list(self._waiting), self._omitted
                self._waiting.clear()
                self._omitted = 0
            wait = self._every
            if fresh and not self._listed(fresh, omitted):
                self._put_back(fresh, omitted)
                wait = backoff.next()
            else:
                backoff.reset()
            with self._worker.when(lambda: False, wait):
                pass

    def _listed(self, fresh: list[Unwritten], omitted: int) -> bool:
        try:
            found = self._client.get(self._path, _ConfigMap)
            self._client.patch(self._path, {"data": changed(found.data, self._own, fresh, omitted, datetime.now(UTC))})
        except ApiError as error:
            log.warning("cannot list %d sessions that were not written: %s", len(fresh), error)
            return False
        except Exception:  # the thread must outlive any surprise
            log.exception("fault while listing sessions that were not written")
            return False
        return True

    def _put_back(self, fresh: list[Unwritten], omitted: int) -> None:
        with self._worker.lock:
            every = [*fresh, *self._waiting]
            self._omitted += omitted + max(0, len(every) - MOST_SESSIONS)
            self._waiting = deque(every, maxlen=MOST_SESSIONS)


def changed(
    data: dict[str, str], own: str, fresh: list[Unwritten], omitted: int, now: datetime
) -> dict[str, str | None]:
    """What to change of the ConfigMap's data: this replica's list, and those of replicas that are long gone.

    Args:
        data: What is there.
        own: This replica's key.
        fresh: What to add to its list.
        omitted: How many more there were.
        now: UTC.

    """
    lists = {key: _read(text) for key, text in data.items()}
    before = lists.pop(own, UnwrittenList())
    # By UID: an earlier try may have come through, only its answer did not.
    every = list({each.uid: each for each in (*before.sessions, *fresh)}.values())
    sessions = _newest(every)
    left_out = before.omitted + omitted + len(every) - len(sessions)
    mine = UnwrittenList(now.isoformat().replace("+00:00", "Z"), left_out, sessions)
    text = msgspec.json.encode(mine).decode()
    return {**_outdated(data, lists, now, _MOST_BYTES_OF_ALL - len(text)), own: text}


def _newest(sessions: list[Unwritten]) -> list[Unwritten]:
    kept = sessions[-MOST_SESSIONS:]
    sizes = [len(msgspec.json.encode(each)) + 1 for each in kept]
    size = sum(sizes)
    first = 0
    while size > MOST_BYTES:
        size -= sizes[first]
        first += 1
    return kept[first:]


def _outdated(data: dict[str, str], lists: dict[str, UnwrittenList], now: datetime, room: int) -> dict[str, str | None]:
    oldest_kept = (now - _KEPT).isoformat()
    gone: dict[str, str | None] = {}
    for key in sorted(lists, key=lambda key: lists[key].updated, reverse=True):
        room -= len(data[key].encode())
        if room < 0 or "" < lists[key].updated < oldest_kept:
            gone[key] = None
    return gone


def _read(text: str) -> UnwrittenList:
    try:
        return msgspec.json.decode(text, type=UnwrittenList)
    except UNREADABLE:
        return UnwrittenList()  # of another version: it has no time, so it goes first where there is no room
