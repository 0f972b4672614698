"""Writes each request's AuditSession to the API, from a bounded queue, after the answer.

A `kubectl exec` never waits for a write, and a flood cannot push out what others did (`webhook.sessions.fair_queue`).
"""

import logging
import threading
import time
from collections.abc import Callable

import msgspec

from exectrail.contracts.session import AuditSession
from exectrail.k8s.client import ApiError
from exectrail.k8s.passing import is_passing, is_there
from exectrail.service.backoff import Backoff
from exectrail.service.worker import Worker
from webhook import metrics
from webhook.sessions.fair_queue import Entry, FairQueue
from webhook.sessions.limits import Bucket, Limits, Rate
from webhook.sessions.spool import Spool
from webhook.sparse_log import SparseLog

_BACKOFF_FIRST, _BACKOFF_MOST = 0.2, 5.0

NO_LIMIT = Rate(1e9, 1 << 30)

log = logging.getLogger(__name__)
sparse = SparseLog(log)


class SessionWriter:
    """Writes AuditSessions in a thread of its own; each is written in the end, or counted as lost.

    Args:
        create: Creates one AuditSession, given as JSON; raises `ApiError`.
        most: The most bytes that may wait; each session takes about 1 kB.
        limits: What a user and a namespace may cause.
        pace: How fast all are written, on average and at once.
        unwritten: Called with each session that is not written, and the cause; returns at once.
        spool: Keeps what waits at the end for the next start of this container.

    """

    def __init__(
        self,
        create: Callable[[bytes], None],
        most: int,
        limits: Limits | None = None,
        pace: Rate = NO_LIMIT,
        unwritten: Callable[[AuditSession, str], None] = lambda _session, _cause: None,
        spool: Spool | None = None,
    ) -> None:
        self._create, self._unwritten, self._spool = create, unwritten, spool
        self._spooled = False
        """Whether the file has sessions that may not be written yet."""
        self._limits = limits or Limits(NO_LIMIT, NO_LIMIT)
        self._pace = Bucket(pace, time.monotonic())
        self._queue = FairQueue(most)
        self._writing: Entry | None = None
        self._abandoned = threading.Event()
        self._worker = Worker("session writer", self._run)

    def start(self) -> None:
        """Begin to write, first what the container before could not."""
        left = self._spool.read() if self._spool else []
        if left:
            log.info("queued %d AuditSessions that the container before could not write", len(left))
            self._spooled = True
        for entry in left:
            self._enqueue(entry)
        self._worker.start()

    def put(self, session: AuditSession, *, known: bool = True, limited: bool = True) -> None:
        """Take a session for writing; returns at once.

        Args:
            session: What to write.
            known: Whether there is such a namespace. Those that are not known have one share together.
            limited: Whether it counts for the limits of its user and its namespace. The pace holds for all.

        """
        namespace = session.spec.target.namespace if known else ""
        entry = Entry(namespace, session.spec.user.username, msgspec.json.encode(session))
        if limited and (over := self._limits.over(namespace, entry.user, len(entry.body))):
            metrics.SESSIONS_DROPPED.labels(over).inc()
            self._unwritten(session, over)
            sparse.warning(over, f"wrote no AuditSession: over the {over}", **_about(session))
        else:
            self._enqueue(entry)

    def close(self, seconds: float) -> None:
        """Write what waits for at most so long, and keep the rest for the next start of this container."""
        self._worker.close(seconds)
        self._abandoned.set()
        with self._worker.lock:
            left = [self._writing] if self._writing else []
            while entry := self._queue.get():
                left.append(entry)
            self._count()
        for entry in self._keep(left):
            self._drop(entry, "shutdown", "the webhook ends")

    def _keep(self, left: list[Entry]) -> list[Entry]:
        """Spool these; returns those that could not be."""
        if not self._spool or not left:
            return left
        try:
            too_many = self._spool.write(left)
        except OSError as error:
            log.error("cannot keep what waits to be written: %s", error)
            return left
        for entry in left[: len(left) - len(too_many)]:
            # A pod that is deleted takes the file along: then this line, and the list, are the only traces.
            session = _session(entry)
            self._unwritten(session, "shutdown")
            log.warning("an AuditSession waits for the next start of this container", extra=_about(session))
        return too_many

    def _run(self) -> None:
        backoff = Backoff(_BACKOFF_FIRST, _BACKOFF_MOST)
        while entry := self._next():
            self._keep_pace(entry)
            if self._write(entry):
                backoff.reset()
                continue
            # Back to its user's queue: an entry that the server cannot take must not hold up all others.
            self._enqueue(entry)
            self._abandoned.wait(backoff.next())

    def took(self, size: int) -> None:
        """Note that others write a session of so many bytes: what waits here is written later for it."""
        with self._worker.lock:
            self._pace.take(size)

    def _keep_pace(self, entry: Entry) -> None:
        # Not while it ends: the time until then is short.
        while not self._worker.closing and (wait := self._pace_wait(entry)):
            with self._worker.when(lambda: False, wait):
                pass
        self.took(len(entry.body))

    def _pace_wait(self, entry: Entry) -> float:
        with self._worker.lock:
            return self._pace.wait(len(entry.body), time.monotonic())

    def _write(self, entry: Entry) -> bool:
        """Whether the entry is settled, well or not; else it is worth another try."""
        try:
            self._create(entry.body)
        except ApiError as error:
            if is_there(error):
                pass  # an earlier try came through, only its answer did not
            elif is_passing(error):
                metrics.SESSIONS_RETRIED.inc()
                log.warning("cannot write an AuditSession, will try again: %s", error, extra=_about(_session(entry)))
                return False
            else:
                self._drop(entry, "refused", str(error))
                return True
        except Exception as error:  # the thread must outlive any surprise
            log.exception("fault while writing an AuditSession", extra=_about(_session(entry)))
            self._drop(entry, "error", repr(error))
            return True
        metrics.SESSIONS_WRITTEN.inc()
        return True

    def _enqueue(self, entry: Entry) -> None:
        with self._worker.changing():
            again = entry is self._writing
            if self._abandoned.is_set():  # the queue is not read any more
                if not again:  # else `close` reports it
                    self._drop(entry, "shutdown", "the webhook ends")
                return
            if again:
                self._writing = None
            dropped = self._queue.put(entry)
            self._count()
        for old in dropped:
            self._drop(old, "queue-full", "too many wait to be written, most of them of this namespace and user")

    def _next(self) -> Entry | None:
        with self._worker.lock:
            self._writing = None
            # Not what `close` has just written, while this thread still waited for an answer.
            if self._spool and self._spooled and not self._queue.length and not self._abandoned.is_set():
                self._spool.remove()
                self._spooled = False
        with self._worker.when(lambda: self._queue.length):
            self._writing = None if self._abandoned.is_set() else self._queue.get()
            self._count()
            return self._writing

    def _drop(self, entry: Entry, cause: str, why: str) -> None:
        session = _session(entry)
        metrics.SESSIONS_DROPPED.labels(cause).inc()
        self._unwritten(session, cause)
        log.error("dropped an AuditSession: %s", why, extra={"cause": cause, **_about(session)})

    def _count(self) -> None:
        metrics.QUEUED_SESSIONS.set(self._queue.length)
        metrics.QUEUED_BYTES.set(self._queue.size)


def _session(entry: Entry) -> AuditSession:
    return msgspec.json.decode(entry.body, type=AuditSession)


def _about(session: AuditSession) -> dict[str, str]:
    """Who did what where; not the command, which may hold a secret that logs should not."""
    target = session.spec.target
    return {
        "uid": session.metadata.name,
        "user": session.spec.user.username,
        "verb": session.spec.verb,
        "target": f"{target.namespace}/{target.pod}",
    }
