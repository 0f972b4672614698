"""What the audit sources share: the serials taken, and the checkpoint of them."""

import logging
import time
from pathlib import Path

from enricher.audit import checkpoint
from enricher.audit.checkpoint import Checkpoint
from enricher.audit.follower import Position
from enricher.audit.log_tail import MaybeWritten, maybe_written
from enricher.audit.serials import Serials
from exectrail.service.atomic_file import Unusable

log = logging.getLogger(__name__)


def modified_ms(path: Path) -> int:
    """When a file was last written, in milliseconds since the epoch; 0 if it is not there."""
    try:
        return path.stat().st_mtime_ns // 1_000_000
    except OSError:
        return 0


class SourceState:
    """Goes on where the enricher before this one was.

    Attribute `before` is its checkpoint, None where there is none that can be used; `gap` says why it cannot.

    Args:
        path: The checkpoint's file.
        boot: This boot's id.
        written_ms: When something was last written to the trail, in milliseconds since the epoch.

    """

    def __init__(self, path: Path, boot: str, written_ms: int) -> None:
        self.gap: str | None = None
        self.before: Checkpoint | None = None
        try:
            self.before = checkpoint.load(path, boot)
        except Unusable as error:
            self.gap = error.cause
            log.warning("%s: %s: no event of auditd's log from before now is read", path, error)
        self.serials = self.serials_before()
        self.maybe_written = maybe_written(self.before, written_ms) if self.before else MaybeWritten()
        self._path, self._boot = path, boot
        self._kept: tuple[int | None, Position | None, bool] | None = None
        self._failed = False

    def serials_before(self) -> Serials:
        """What was taken as of the checkpoint, and nothing since."""
        return Serials(self.before.serial, self.before.recent) if self.before else Serials()

    def keep(self, position: Position | None, *, clean: bool = False) -> None:
        """Write a checkpoint, if anything has changed; a failure is logged once."""
        now = (self.serials.highest, position, clean)
        if now == self._kept:
            return
        kept = Checkpoint(
            boot=self._boot,
            at=time.time_ns() // 1_000_000,
            clean=clean,
            serial=self.serials.highest,
            recent=self.serials.recent(),
            log=position,
        )
        try:
            checkpoint.save(self._path, kept)
            self._kept, self._failed = now, False
        except OSError as error:
            if not self._failed:
                self._failed = True
                log.error("no checkpoint of the audit events: %s", error)
