"""Where an enricher was in the audit events, kept over restarts: the last serials taken, and the place in auditd's log.

Replaced as a whole by a rename, so that whoever is killed leaves the old one or the new one. It is not handed to the
disk each time: what a crash of the node leaves is of another boot, and not used then.
"""

import os
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from enricher.audit.follower import Position
from exectrail.contracts.unreadable import UNREADABLE

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


class Unusable(Exception):
    """A checkpoint that cannot be gone on from; its text is the reason that a `gap` has for it."""


class _Format(Struct):
    format: int


def load(path: Path, boot: str) -> Checkpoint | None:
    """What was saved last; None at the first start ever.

    Raises:
        Unusable: `checkpoint-unreadable`, `checkpoint-format` or `checkpoint-boot`.

    """
    try:
        data = path.read_bytes()
        if msgspec.json.decode(data, type=_Format).format != FORMAT:
            raise Unusable("checkpoint-format")
        found = msgspec.json.decode(data, type=Checkpoint)
    except FileNotFoundError:
        return None
    except (OSError, *UNREADABLE) as error:
        raise Unusable("checkpoint-unreadable") from error
    if found.boot != boot:
        raise Unusable("checkpoint-boot")
    return found


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Replace it.

    Raises:
        OSError: It cannot be written.

    """
    fresh = path.with_name(f"{path.name}.new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, msgspec.json.encode(checkpoint))
    finally:
        os.close(fd)
    fresh.replace(path)
