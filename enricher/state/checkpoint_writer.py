"""Keeps the checkpoint while the enricher works: looks each second, writes in a thread of its own.

The checkpoint is written anew only where something changed. Nothing is synced: a kill loses nothing that was written,
and after a reboot the processes are gone anyway.
"""

import logging
import time
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from enricher.correlate.process_tree import Node
from enricher.correlate.sessions import Session
from enricher.events import Process
from enricher.state import checkpoint
from enricher.state.checkpoint import Checkpoint
from enricher.state.progress_marker import Alive, Moment, Progress, ProgressFile, forks
from enricher.trail.folder import Folder
from exectrail.service import atomic_file
from exectrail.service.worker import Worker

_REST = 20
"""How many times as long as a write took, at least, until the next: of a node with very many processes it is large."""
_CLOSE_WITHIN = 5.0

log = logging.getLogger(__name__)


class View(Struct, frozen=True):
    """What an enricher knows at a moment."""

    at: int
    """Nanoseconds since boot."""
    complete: int
    """Up to when everything that happened is sealed, likewise."""
    offset: int
    """What to add to get nanoseconds since the epoch."""
    sealed: int
    """The last record that is sealed."""
    written: int
    """The last one that is written."""
    version: int
    """Rises with every change of the processes."""
    nodes: list[Node]
    sessions: list[Session]
    """Those that are open."""
    bound: Mapping[str, Process]


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
        self._path, self._boot_id = folder / "checkpoint.json", boot_id
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = Folder(folder)
        self._folder.lock(".lock", wait)
        self._alive = ProgressFile(folder / "alive.json")
        self._progress: Progress | None = None
        self._kept: tuple[int, int] | None = None
        self._rest_until = 0.0
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

    def note(self, view: View) -> None:
        """This is known now."""
        with self._worker.changing():
            self._view = view

    def close(self, view: View) -> None:
        """Keep this last, and end."""
        self._worker.close(_CLOSE_WITHIN)
        self._rest_until = 0.0
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
        now = time.monotonic()
        if self._kept == (view.sealed, view.version) or now < self._rest_until:
            return
        made = checkpoint.take(self._boot_id, view.sealed, view.nodes, view.sessions, view.bound)
        atomic_file.replace(self._path, checkpoint.encode(made))
        self._kept = view.sealed, view.version
        self._rest_until = time.monotonic() + _REST * (time.monotonic() - now)

    def _renew(self, view: View) -> None:
        if self._progress is None:
            return
        moment = Moment(view.at, view.complete, view.sealed, forks())
        if noted := self._progress.note(moment, view.written):
            until, count = noted
            self._alive.save(Alive(self._boot_id, until, (until + view.offset) // 1_000_000, count))
