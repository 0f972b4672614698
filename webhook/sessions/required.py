"""Writes the AuditSessions of namespaces that require one, before the answer, or says why that is not possible.

These calls wait, and no other does: the writes are made by threads of their own, and what waits is a coroutine. The
API server waits for an answer, so there is a deadline, and whatever is not stored by then counts as not written.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from exectrail.contracts.session import AuditSession
from exectrail.k8s.client import ApiError
from exectrail.k8s.passing import is_passing, is_there
from webhook import metrics
from webhook.sessions.limits import Bucket, Limits, Rate

_THREADS = 8
_PAUSE_SECONDS = 0.1

log = logging.getLogger(__name__)


class RequiredWriter:
    """Writes while the caller waits. Its `write` belongs to the event loop.

    Args:
        create: Creates one AuditSession, given as JSON, in at most so many seconds; raises `ApiError`.
        seconds: How long a call may wait.
        limits: What a user and a namespace may cause, together with what is written after the answer.
        pace: How many may come together.
        took: Called with the bytes of each that is to be written, so that others are written slower.

    """

    def __init__(
        self,
        create: Callable[[bytes, float], None],
        seconds: float,
        limits: Limits,
        pace: Rate,
        took: Callable[[int], None] = lambda _size: None,
    ) -> None:
        self._create, self._seconds, self._limits, self._took = create, seconds, limits, took
        self._pace = Bucket(pace, time.monotonic())
        self._threads = ThreadPoolExecutor(_THREADS, "required session")

    async def write(self, sessions: list[AuditSession]) -> str | None:
        """Write them all; why that was not possible, or None where it was."""
        # A little earlier, so that a try that fails can say why.
        deadline = time.monotonic() + 0.9 * self._seconds
        bodies = []
        for session in sessions:
            body = msgspec.json.encode(session)
            if over := self._over(session, len(body)):
                return over
            bodies.append(body)
        loop = asyncio.get_running_loop()
        writes = [loop.run_in_executor(self._threads, self._write, body, deadline) for body in bodies]
        done, late = await asyncio.wait(writes, timeout=self._seconds)
        for write in late:
            write.cancel()
        if late:
            return f"the API server did not store it within {self._seconds:g} s"
        return next((why for why in (write.result() for write in done) if why), None)

    def _over(self, session: AuditSession, size: int) -> str | None:
        if over := self._limits.over(session.spec.target.namespace, session.spec.user.username, size):
            return f"too many at once ({over})"
        if self._pace.wait(size, time.monotonic()):
            return "too many at once (total-limit)"
        self._pace.take(size)
        self._took(size)
        return None

    def _write(self, body: bytes, deadline: float) -> str | None:
        why = ""
        while (left := deadline - time.monotonic()) > 0:
            try:
                self._create(body, left)
            except ApiError as error:
                if is_there(error):
                    break  # an earlier try came through, only its answer did not
                # The last try may be cut off by our own deadline: what the API server said before tells more.
                if error.status or not why:
                    why = str(error)
                if not is_passing(error):
                    return why
            except Exception:
                log.exception("fault while writing an AuditSession that is required")
                return "internal error of exectrail"
            else:
                break
            time.sleep(min(_PAUSE_SECONDS, left))
        else:
            return why or "the API server was not asked in time"
        metrics.SESSIONS_WRITTEN.inc()
        return None
