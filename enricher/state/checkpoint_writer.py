"""Keeps the checkpoint while the enricher works: looks each second, writes in a thread of its own.

The checkpoint is written anew only where something changed. Nothing is synced: a kill loses nothing that was written,
and after a reboot the processes are gone anyway. What crosses to the thread is taken before, so all of it is of one
moment.
"""

import logging
import time
from pathlib import Path

from msgspec import Struct

from enricher.state import checkpoint
from enricher.state.checkpoint import Checkpoint
from enricher.state.progress_marker import Alive, Moment, Progress, ProgressFile
from enricher.trail.folder import Folder
from exectrail.service import atomic_file
from exectrail.service.worker import Worker

_REST = 20
"""How many times as long as one took to take and write, at least, until the next: many processes make it large."""
_CLOSE_WITHIN = 5.0

log = logging.getLogger(__name__)


class View(Struct, frozen=True):
    """What an enricher knows at a moment."""

    moment: Moment
    offset: int
    """What to add to nanoseconds since boot to get those since the epoch."""
    written: int
    """The last record that is written."""
    version: int
    """Rises with every change of the processes."""
    checkpoint: Checkpoint | None
    """None where none is due."""


class CheckpointWriter:
    """Keeps what an enricher knows.

    Args:
        folder: Where.
        boot_id: Of this boot.
        wait: How long to wait for a predecessor that still keeps it, in seconds.

    Raises:
        OSError: The folder cannot be written, or another enricher keeps it.

    """

    def __init__(self, folder: Path, boot_id: str, wait: float = 10.0) -> None:
        self.failures = 0
        self.boot_id = boot_id
        self._path = folder / "checkpoint.json"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = Folder(folder)
        self._folder.lock(".lock", wait)
        self._alive = ProgressFile(folder / "alive.json")
        self._progress: Progress | None = None
        self._kept: tuple[int, int] | None = None
        self._due_at = self._rest_until = 0.0
        """By the monotonic clock: when a checkpoint was last found due, and until when none is."""
        self._view: View | None = None
        self._worker = Worker("checkpoint", self._run)

    def load_alive(self) -> Alive | None:
        """The last word of the enricher before; None where there was none.

        Raises:
            Unusable: It cannot be read.

        """
        return self._alive.load()

    def load(self) -> Checkpoint | None:
        """What the enricher before knew; None where there was none.

        Raises:
            Unusable: It cannot be read.

        """
        data = atomic_file.read(self._path, "the checkpoint")
        return None if data is None else checkpoint.decode(data)

    def start(self, view: View) -> None:
        """Keep from now on; what was loaded is replaced, its last word once all is written that is sealed by now."""
        self._progress = Progress()
        self._keep(view)
        self._worker.start()

    def is_due(self, sealed: int, version: int) -> bool:
        """Whether a checkpoint is to be taken now: something changed since the last, and that was long enough ago."""
        now = time.monotonic()
        with self._worker.lock:
            if self._kept == (sealed, version) or now < self._rest_until:
                return False
            self._due_at = now
            return True

    def note(self, view: View) -> None:
        """This is known now."""
        with self._worker.changing():
            self._view = view

    def close(self, view: View) -> None:
        """Keep this last, and end."""
        self._worker.close(_CLOSE_WITHIN)
        self._keep(view)
        self._folder.close()

    def _run(self) -> None:
        while not self._worker.closing:
            with self._worker.when(lambda: self._view):
                view, self._view = self._view, None
            if view and not self._worker.closing:  # else `close` has a newer one
                self._keep(view)

    def _keep(self, view: View) -> None:
        try:
            # The checkpoint first: what it has not must be in the gap that the word leaves.
            self._save(view)
            self._renew(view)
        except OSError as error:
            self.failures += 1
            if self.failures == 1:
                log.warning("the checkpoint cannot be written, a restart will know less: %s", error)

    def _save(self, view: View) -> None:
        this = view.moment.seq, view.version
        if view.checkpoint is None or self._kept == this:
            return
        atomic_file.replace(self._path, checkpoint.encode(view.checkpoint))
        now = time.monotonic()
        with self._worker.lock:
            self._kept, self._rest_until = this, now + _REST * (now - self._due_at)

    def _renew(self, view: View) -> None:
        if self._progress is None:
            return
        if noted := self._progress.note(view.moment, view.written):
            until, count = noted
            self._alive.save(Alive(self.boot_id, until, (until + view.offset) // 1_000_000, count))
