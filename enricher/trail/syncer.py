"""Syncs the trail's files to the disk in a thread of its own, so that no caller waits for a slow fsync."""

import logging
import os
import time
from collections import deque
from typing import Literal, get_args

from exectrail.service.worker import Worker

Policy = Literal["interval", "always", "never"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
"""Each second and at a segment's end; after each write, before the next; when the kernel sees fit."""
EVERY = 1.0
_SLOW = 10.0
_CLOSE_WITHIN = 5.0

log = logging.getLogger(__name__)


class Syncer:
    """Syncs and closes file descriptors.

    Args:
        policy: When.

    """

    def __init__(self, policy: Policy) -> None:
        self.failures = 0
        self._policy = policy
        self._dirty: int | None = None
        self._finished: deque[int] = deque()
        self._trouble: str | None = None
        self._since: float | None = None
        self._worker = Worker("sync", self._run)
        self._worker.start()

    def written(self, fd: int) -> None:
        """Something was written; the file stays open until it is given to `finish`."""
        if self._policy == "always":
            self._sync(fd)
        elif self._policy == "interval" and self._dirty != fd:
            with self._worker.changing():
                self._dirty = fd

    def finish(self, fd: int) -> None:
        """Sync and close a file descriptor, soon; it is the syncer's from now on."""
        with self._worker.changing():
            if self._dirty == fd:
                self._dirty = None
            self._finished.append(fd)

    def wrong(self) -> str | None:
        """What is wrong, if anything."""
        since = self._since
        if since and time.monotonic() - since > _SLOW:
            return f"the disk takes more than {time.monotonic() - since:.0f} s to sync the trail"
        return self._trouble

    def close(self) -> None:
        """Finish what was given, waiting a few seconds at most."""
        self._worker.close(_CLOSE_WITHIN)

    def _run(self) -> None:
        closing = False
        while not closing:
            with self._worker.when(lambda: self._finished or self._dirty is not None):
                self._worker.lock.wait_for(lambda: self._finished or self._worker.closing, EVERY)
                # `finish` closes nothing itself, so this one stays open as long as it is looked at here.
                dirty, self._dirty = self._dirty, None
                finished = [self._finished.popleft() for _ in range(len(self._finished))]
                closing = self._worker.closing
            if dirty is not None:
                self._sync(dirty)
            for fd in finished:
                if self._policy != "never":
                    self._sync(fd)
                self._close(fd)

    def _sync(self, fd: int) -> None:
        self._since = time.monotonic()
        try:
            os.fsync(fd)
        except OSError as error:
            self._failed(f"the disk did not take what was written to the trail: {error.strerror}")
        else:
            self._trouble = None
        self._since = None

    def _close(self, fd: int) -> None:
        try:
            os.close(fd)  # on NFS the server's answer to earlier writes may come only now
        except OSError as error:
            self._failed(f"closing a segment: {error.strerror}")

    def _failed(self, trouble: str) -> None:
        self.failures += 1
        if trouble != self._trouble:
            log.warning("%s", trouble)
        self._trouble = trouble
