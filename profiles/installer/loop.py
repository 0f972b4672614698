"""The installer's loop: looks after the built-in profiles and the users' whenever something changes, and now and then.

Built-in profiles need no API. Users' profiles are followed as soon as the API serves SeccompProfiles; while it is away,
what is on the node stays as it is.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Protocol

from exectrail.service.backoff import Backoff
from profiles.installer import metrics
from profiles.installer.install import InstallError, install

CHECK_SECONDS = 30.0
STUCK_SECONDS = 300.0
"""No step takes that long: every request has a time limit."""
_BACKOFF_FIRST, _BACKOFF_MOST = 1.0, 60.0

log = logging.getLogger(__name__)


class Users(Protocol):
    """The users' profiles on this node."""

    changed: Callable[[], None]
    """To be called, from any thread, when there is something to do."""
    progressed: Callable[[], None]
    """To be called in the middle of a long `update`."""

    @property
    def failure(self) -> str | None:
        """Why their files are not as they should be, where the node is to blame."""

    def update(self) -> bool:
        """Bring files and statuses up to date; whether all of it succeeded."""


class Loop:
    """Keeps profiles in place until stopped.

    Args:
        seccomp_dir: The kubelet's seccomp folder.
        seconds: Between two looks where nothing changes.
        at_each_look: What else is to be done at each of them.
        allow_unconfined: Whether the built-in profiles that refuse nothing are wanted, too.

    """

    def __init__(
        self,
        seccomp_dir: Path,
        seconds: float = CHECK_SECONDS,
        at_each_look: Callable[[], None] = lambda: None,
        *,
        allow_unconfined: bool = False,
    ) -> None:
        self._seccomp_dir, self._seconds, self._at_each_look = seccomp_dir, seconds, at_each_look
        self._allow_unconfined = allow_unconfined
        self._users: Users | None = None
        # Its `put` may be called by a signal handler, whatever the interrupted thread is doing.
        self._reasons: SimpleQueue[None] = SimpleQueue()
        self._stopping = False
        self._failure: str | None = None
        self._progress = time.monotonic()

    def follow(self, users: Users) -> None:
        """Look after users' profiles, too; before `run`."""
        self._users = users
        users.changed, users.progressed = self.wake, self._beat

    def wake(self) -> None:
        """Something has changed: look now. From any thread."""
        if self._reasons.empty():
            self._reasons.put(None)

    def stop(self) -> None:
        """End after the present look."""
        self._stopping = True
        self._reasons.put(None)

    def run(self) -> None:
        """Look, and wait for the next reason to, until stopped."""
        backoff = Backoff(_BACKOFF_FIRST, _BACKOFF_MOST)
        while not self._stopping:
            if self._look():
                backoff.reset()
                wait = self._seconds
            else:
                wait = min(backoff.next(), self._seconds)
            with suppress(Empty):
                self._reasons.get(timeout=wait)

    def stuck(self) -> str | None:
        """What the health check says."""
        silent = time.monotonic() - self._progress
        return f"no progress for {silent:.0f} s" if silent > STUCK_SECONDS else None

    def unready(self) -> str | None:
        """What the readiness check says: a profile that the node cannot take, whatever profile it is."""
        return self._failure or (self._users.failure if self._users else None)

    def _look(self) -> bool:
        self._beat()
        self._at_each_look()
        self._built_in()
        try:
            succeeded = self._users.update() if self._users else True
        except Exception:  # the loop must go on: it is what repairs
            log.exception("fault while looking after users' profiles")
            succeeded = False
        self._beat()
        metrics.LAST_ROUND.set_to_current_time()
        return succeeded and self._failure is None

    def _built_in(self) -> None:
        try:
            repaired = install(self._seccomp_dir, allow_unconfined=self._allow_unconfined)
        except InstallError as error:
            log.error("%s", error)
            self._failure = str(error)
        else:
            self._failure = None
            for file in repaired:
                metrics.FILES.labels("repair").inc()
                log.warning("profile was changed or removed: repaired", extra={"path": str(self._seccomp_dir / file)})
        metrics.BUILT_IN.set(self._failure is None)

    def _beat(self) -> None:
        self._progress = time.monotonic()
