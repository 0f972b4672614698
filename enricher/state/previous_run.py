"""What the enricher before left, and what of it can be used: every fault of it is a gap with its name."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from enricher.clock import Clock
from enricher.emit.gap import Gap
from enricher.procfs import Proc
from enricher.state import trail_replay
from enricher.state.checkpoint import Checkpoint
from enricher.state.checkpoint_writer import CheckpointWriter
from enricher.state.progress_marker import Alive, between, forks
from exectrail.service.atomic_file import Unusable

T = TypeVar("T")

log = logging.getLogger(__name__)


class Before(Struct):
    """What is left; nothing of it at the first start on a node."""

    kept: Checkpoint | None = None
    """What was known, with what the trail has beyond it."""
    gaps: list[Gap] = []
    """What may be missing, one for each reason."""


def look_back(
    checkpoint_writer: CheckpointWriter,
    lines: Callable[[], Iterable[bytes]],
    clock: Clock,
    boot_id: str,
    *,
    written: int,
    chain_unreadable: bool = False,
) -> Before:
    """Read what the enricher before left.

    Args:
        checkpoint_writer: Has its checkpoint.
        lines: The trail's lines, the newest first, as often as it is called.
        clock: Of this boot.
        boot_id: Of this boot.
        written: The last record that is written; -1 where there is none.
        chain_unreadable: Whether the chain's end could not be read.

    """
    now_ms = time.time_ns() // 1_000_000
    causes: list[str] = ["chain-unreadable"] if chain_unreadable else []
    alive = _usable(checkpoint_writer.load_alive, causes)
    kept = _usable(checkpoint_writer.load, causes)
    if not causes and written >= 0 and (alive is None or kept is None):
        causes.append("checkpoint-missing")
    gap = _gap(alive, clock, boot_id, now_ms)
    since_ms = gap.since_ms if gap else _last_ms(lines())
    gaps = [gap] if gap else []
    gaps += [Gap(cause, now_ms, since_ms) for cause in dict.fromkeys(causes)]
    if kept and kept.boot_id != boot_id:
        gaps = [replace(each, boot_id=kept.boot_id) for each in gaps]
    if kept:
        trail_replay.apply(trail_replay.since(kept.seq, lines(), Proc().is_alive), kept, clock.boot_ns)
        for session in kept.sessions:  # what was sealed and never written is to be written again
            if session.start_seq is not None and session.start_seq > written:
                session.start_seq = None
    return Before(kept, gaps)


def _usable(load: Callable[[], T], causes: list[str]) -> T | None:
    try:
        return load()
    except Unusable as error:
        log.warning("%s; going on without", error)
        causes.append(error.cause)
        return None


def _gap(alive: Alive | None, clock: Clock, boot_id: str, now_ms: int) -> Gap | None:
    if alive is None:
        return None
    offset = -clock.boot_ns(0)
    return between(alive, boot_id, offset, now_ms, forks())


def _last_ms(lines: Iterable[bytes]) -> int | None:
    """When the trail's last record was, in milliseconds since the epoch."""
    last = trail_replay.newest(lines)
    return last.wall_ms if last else None
