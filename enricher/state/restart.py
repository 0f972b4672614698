"""An enricher's memory over restarts: takes up at the start what the one before knew, and keeps it from then on."""

import logging
import time
from collections.abc import Callable, Iterable

from enricher.clock import Clock
from enricher.correlate.correlator import Correlator
from enricher.correlate.sessions import Sessions
from enricher.correlate.tracker import ContainerTracker
from enricher.emit.emitter import Emitter
from enricher.emit.gap import Gap
from enricher.events import Process
from enricher.procfs import Proc
from enricher.state import checkpoint
from enricher.state.checkpoint import Checkpoint
from enricher.state.checkpoint_writer import CheckpointWriter, View
from enricher.state.previous_run import Before, look_back
from enricher.state.progress_marker import Moment, forks
from enricher.state.restore import Restored, restore, session_of
from enricher.state.resumption import Requests, Resumption
from enricher.trail.writer import Writer

log = logging.getLogger(__name__)


class Memory:
    """Keeps what an enricher knows, and settles what the one before left.

    Args:
        checkpoints: Its files.
        sessions, emitter, correlator, writer, clock: At work.

    """

    def __init__(
        self,
        checkpoints: CheckpointWriter,
        sessions: Sessions,
        emitter: Emitter,
        correlator: Correlator,
        writer: Writer,
        clock: Clock,
    ) -> None:
        self._checkpoints, self._sessions, self._emitter = checkpoints, sessions, emitter
        self._correlator, self._writer, self._clock = correlator, writer, clock
        self._resumption: Resumption | None = None

    def take_up(
        self,
        tracker: ContainerTracker,
        lines: Callable[[], Iterable[bytes]],
        requests: Requests,
        *,
        chain_unreadable: bool,
    ) -> None:
        """Go on where the enricher before ended; to be called once the sensor is attached, and before it is read.

        Args:
            tracker: Has the sensor.
            lines: The trail's lines, the newest first.
            requests: What the API knows.
            chain_unreadable: Whether the chain's end could not be read.

        """
        boot_id, written = Proc().boot_id(), self._writer.written
        before = look_back(
            self._checkpoints, lines, self._clock, boot_id, written=written, chain_unreadable=chain_unreadable
        )
        restored = self._restore(before, boot_id)
        tracker.resume(restored.containers, restored.outside)
        # Who leaves its cgroup, or ends, before it is looked at is out of sight: the gap is as long as that takes.
        born, now = forks(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        gaps = [gap.ending(time.time_ns() // 1_000_000) for gap in before.gaps]
        for gap in gaps:
            since = "an unknown time" if gap.since_ms is None else self._clock.stamp(gap.since_ms)
            log.warning("%s: what happened from %s until now may be missing", gap.reason, since)
            self._emitter.gap(gap)
        # At a first start nothing is missing. Sessions still Running in the API mean that state was lost.
        gap = gaps[0] if gaps else Gap("checkpoint-missing", time.time_ns() // 1_000_000)
        self._resumption = Resumption(
            gap, restored.sessions, lines, self._sessions, self._emitter, self._correlator, self._clock, requests
        )
        self._writer.commit()
        # Not a moment later: what has happened since waits in the sensor, and is lost if this one is killed now.
        self._checkpoints.start(self._view(born, now, now))

    def _restore(self, before: Before, boot_id: str) -> Restored:
        kept = before.kept
        if kept is None:
            return Restored([], set(), [])
        if kept.boot_id == boot_id:
            restored = restore(kept, self._correlator.tree, Proc())
            self._sessions.restore(kept.bound, restored.sessions)
            return restored
        # No process of this boot has bound them.
        self._sessions.restore(dict.fromkeys(kept.bound, Process(0, 0)))
        return Restored([session_of(each) for each in kept.sessions if not each.ended], set(), [])

    def settle(self, now: float) -> bool:
        """Settle what the enricher before left, as far as that can be done by now (seconds of the monotonic clock).

        Returns whether records may leave: those of the sessions that were open are to come after what this tells.
        """
        if self._resumption and self._resumption.settle(now):
            self._resumption = None
        return self._resumption is None or self._resumption.taken_up

    def note(self, complete: int) -> None:
        """Keep what is known; to be called each second.

        Args:
            complete: Up to when everything that happened is sealed, in nanoseconds since boot.

        """
        self._checkpoints.note(self._view(forks(), self._clock.now_ns(), complete))

    def close(self, complete: int) -> None:
        """Keep this last; everything that can be written is."""
        self._checkpoints.close(self._view(forks(), self._clock.now_ns(), complete, last=True))

    def _view(self, born: int, at: int, complete: int, *, last: bool = False) -> View:
        """What is known now. `born` counts until `at` at most: what is born later may be missing after a kill."""
        sealed, version = self._writer.seq, self._correlator.tree.version
        return View(
            Moment(at, complete, sealed, born),
            offset=-self._clock.boot_ns(0),
            written=self._writer.written,
            version=version,
            checkpoint=self._checkpoint(sealed) if last or self._checkpoints.is_due(sealed, version) else None,
        )

    def _checkpoint(self, sealed: int) -> Checkpoint:
        waiting = self._resumption.waiting() if self._resumption else ()
        return checkpoint.take(
            self._checkpoints.boot_id,
            sealed,
            self._correlator.tree.nodes(),
            [*self._emitter.open_sessions(), *waiting],
            self._sessions.bound(),
        )
