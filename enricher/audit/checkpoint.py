"""Where an enricher was in the audit events, over restarts: the last serials taken, and the place in auditd's log.

It is not synced: what a crash of the node leaves is of another boot, and not used then.
"""

from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from enricher.audit.follower import Position
from exectrail.service import atomic_file
from exectrail.service.atomic_file import Unusable

FORMAT: Final = 1


class Checkpoint(Struct, frozen=True, kw_only=True):
    """What was taken, as of a time."""

    format: int = FORMAT
    boot: str
    """`/proc/sys/kernel/random/boot_id`: serials begin anew at each boot."""
    at: int
    """Milliseconds since the epoch."""
    clean: bool
    """Whether everything that was taken is in the trail: the enricher ended by itself."""
    serial: int | None
    recent: list[int]
    """See `enricher.audit.serials`."""
    log: Position | None
    """In auditd's log; None where there was none."""


def load(path: Path, boot: str) -> Checkpoint | None:
    """The last checkpoint; None at the first start ever.

    Raises:
        Unusable: `checkpoint-unreadable`, `checkpoint-format` or `checkpoint-boot`.

    """
    data = atomic_file.read(path, "the checkpoint")
    found = None if data is None else atomic_file.decode(data, Checkpoint, FORMAT, "the checkpoint")
    if found and found.boot != boot:
        raise Unusable("checkpoint-boot", "the checkpoint is of another boot")
    return found


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Replace it.

    Raises:
        OSError: It cannot be written.

    """
    atomic_file.replace(path, msgspec.json.encode(checkpoint))
