"""Requests that this node's agent does not watch: asked for by name, where a process came with the UID of one.

They are another node's, or no node's. A process that has such a UID has borrowed it, which only the request itself can
show. Tags are text that anyone writes, so the pace is bounded, and what is asked for.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable

from msgspec import Struct

from exectrail.contracts.session import AuditSession
from exectrail.k8s.client import ApiError, Client, object_path
from exectrail.service.worker import Worker

_AFTER = (5.0, 30.0, 300.0)
"""Seconds after which a UID is asked for: first the watch may show it, and the webhook may write it late."""
_AGAIN = 10.0
"""Seconds until another try, where the API server does not say; twice as many each time, up to those below."""
_AGAIN_MOST = 300.0
_MOST_FAILED = 24
"""How often one is asked for in vain, for some 100 minutes: what fails for longer is taken to fail for good."""
_PAUSE = 0.5
_LONGEST_WAIT = 1.0
_MOST_WANTED = 1000
_MOST_FOUND = 1000

log = logging.getLogger(__name__)


class _Wanted(Struct):
    tries: int
    due: float | None
    failed: int = 0
    """How often the API server has not said whether it is there."""


class RequestsElsewhere:
    """The requests by UID.

    Args:
        client: Where to ask.
        path: The collection of AuditSessions.
        clock: Seconds, monotonic.

    """

    def __init__(self, client: Client, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._path, self._clock = client, path, clock
        self._wanted: OrderedDict[str, _Wanted] = OrderedDict()
        self._found: OrderedDict[str, AuditSession] = OrderedDict()
        self._worker = Worker("requests elsewhere", self._run)

    def start(self) -> None:
        """Ask in a thread of its own, which ends with the process."""
        self._worker.start()

    def get(self, uid: str) -> AuditSession | None:
        """The request, once it was found; asks for it later where it was not. Returns at once."""
        with self._worker.lock:
            found = self._found.get(uid)
            if not found and uid not in self._wanted:
                self._wanted[uid] = _Wanted(0, self._clock() + _AFTER[0])
                if len(self._wanted) > _MOST_WANTED:
                    self._wanted.popitem(last=False)
                self._worker.lock.notify_all()
        return found

    def forget(self, uid: str) -> None:
        """One is not to be asked for: the watch has shown it."""
        if uid in self._wanted:  # most never were
            with self._worker.lock:
                self._wanted.pop(uid, None)

    def look(self) -> float | None:
        """Ask for the one that is due first; seconds until the next is, None where none is wanted any more."""
        now = self._clock()
        with self._worker.lock:
            uid, due = self._next()
        if uid is None or due > now:
            return due - now if uid else None
        try:
            found = self._client.get(object_path(self._path, uid), AuditSession, 30.0)
        except ApiError as error:
            self._failed(uid, error.status)
            if error.status != 404:
                log.warning("cannot ask for the request of a process: %s", error)
        except Exception:  # or it would be due for ever, before all others
            self._failed(uid, 0)
            raise
        else:
            with self._worker.lock:
                self._wanted.pop(uid, None)
                self._found[uid] = found
                if len(self._found) > _MOST_FOUND:
                    self._found.popitem(last=False)
        return _PAUSE

    def _next(self) -> tuple[str | None, float]:
        dues = ((each.due, uid) for uid, each in self._wanted.items() if each.due is not None)
        due, uid = min(dues, default=(0.0, None))
        return uid, due

    def _failed(self, uid: str, status: int) -> None:
        with self._worker.lock:
            wanted = self._wanted.get(uid)
            if wanted is None:
                return
            if status in {0, 401, 429} or status >= 500:
                again = min(_AGAIN * 2**wanted.failed, _AGAIN_MOST)
                wanted.failed += 1
                wanted.due = self._clock() + again if wanted.failed < _MOST_FAILED else None
            else:
                wanted.tries += 1
                left = _AFTER[wanted.tries :]
                wanted.due = self._clock() + left[0] - _AFTER[wanted.tries - 1] if left else None

    def _run(self) -> None:
        while not self._worker.closing:
            with self._worker.when(lambda: self._next()[0]):
                pass
            try:
                wait = self.look() or 0.0
            except Exception:  # the thread must outlive any surprise
                log.exception("fault while asking for the request of a process")
                wait = _AGAIN
            with self._worker.when(lambda: False, min(wait, _LONGEST_WAIT)):  # one that comes now may be due earlier
                pass
