"""The writer: gives each record its place in the node's trail and hands the lines to the sink.

Place means `seq` and `prev` (`exectrail.contracts.seal`). The chain goes on over restarts (`enricher.trail.chain`).

Sealing is the caller's work, writing that of a thread: a storage that is slow, full or gone delays no caller. Lines
that it does not take wait here, in order and within 16 MiB; beyond that no record is taken. The last MiB is kept for
evidence, so that a flood of other records cannot push that out.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from msgspec import Struct

from enricher.trail.chain import End, State, end_of, latest
from enricher.trail.retention import Removed
from enricher.trail.sink import Sink
from exectrail.contracts.line import line_of
from exectrail.contracts.record import Record
from exectrail.contracts.seal import seal
from exectrail.filter.keys import ALWAYS_WRITTEN
from exectrail.service.backoff import Backoff
from exectrail.service.worker import Worker

_MOST, _RESERVED = 16 << 20, 1 << 20
_BLOCK = 1 << 18
_MAINTAIN_EVERY = 1.0
_BACKOFF_FIRST, _BACKOFF_MOST = 0.1, 2.0
_STALLED_AFTER = 5.0
_CLOSE_WITHIN = 10.0

log = logging.getLogger(__name__)


class _Block(Struct):
    """Lines that are written in one go."""

    lines: bytearray
    since: float
    """When its first line was handed over, in seconds of the monotonic clock."""
    end: End
    """The chain's end with its last line."""


class Writer:
    """Seals records and writes them in order, in a thread of its own.

    Args:
        sink: Where to.
        state: Keeps the chain's end.
        interval: How long lines may wait to be written together, in seconds.

    """

    def __init__(self, sink: Sink, state: State, interval: float = 0.0) -> None:
        self._sink, self._state, self._interval = sink, state, interval
        end = latest(state.load(), sink.last_lines())
        self._seq, self._prev = end.seq, end.prev
        self._written = end.seq
        self._gathered = bytearray()
        self._blocks: deque[_Block] = deque()
        self._size = 0
        """Bytes in blocks; with the blocks themselves under the worker's lock."""
        self._refused = 0
        self._trouble: str | None = None
        self._backoff, self._retry_at, self._maintain_at = Backoff(_BACKOFF_FIRST, _BACKOFF_MOST), 0.0, 0.0
        self._waiting_since: float | None = None
        self._unsaved: End | None = None
        self._worker = Worker("write", self._run)

    def start(self) -> None:
        """Write from now on."""
        self._worker.start()

    @property
    def seq(self) -> int:
        """The number of the last record; -1 before the first."""
        return self._seq

    @property
    def written(self) -> int:
        """The number of the last record that the sink has; -1 before the first. A restart goes on from there."""
        return self._written

    @property
    def full(self) -> bool:
        """Whether only evidence still has room: other records that come now are lost."""
        return self.waiting_bytes >= _MOST - _RESERVED

    @property
    def waiting_bytes(self) -> int:
        """Lines that were taken and are not in the sink."""
        return self._size + len(self._gathered)

    @property
    def failures(self) -> int:
        """What the storage refused: writes, rotations, syncs, compressions and removals."""
        return self._refused + self._sink.failures

    @property
    def unwritten(self) -> int:
        """Number of records that were taken and are not in the sink."""
        with self._worker.lock:
            return self._gathered.count(b"\n") + sum(block.lines.count(b"\n") for block in self._blocks)

    def wrong(self) -> str | None:
        """Why the trail cannot be written as it should, if so."""
        since = self._waiting_since
        stalled = time.monotonic() - since if since else 0.0
        if stalled > _STALLED_AFTER:
            return f"the trail's storage has not answered for {stalled:.0f} s"
        if self._worker.ended:
            return "the trail is no longer written"
        if self.full:
            return f"the trail's storage takes nothing: {self._trouble or 'it is too slow'}"
        return self._trouble or self._sink.wrong()

    def removed(self) -> list[Removed]:
        """Old segments that were removed since the last call."""
        return self._sink.removed()

    def write(self, record: Record) -> bool:
        """Seal a record and take it for the next `commit`; false, and nothing is taken, while all room is used.

        Sessions, gaps, digests, and what came into a container without a request, have room of their own.
        """
        waiting = self._size + len(self._gathered)
        if waiting >= _MOST - _RESERVED and (waiting >= _MOST or not _is_evidence(record)):
            return False
        record.seq, record.prev = self._seq + 1, self._prev
        line = line_of(record)
        self._seq, self._prev = record.seq, seal(line)
        self._gathered += line
        return True

    def commit(self) -> None:
        """Hand over all that was taken."""
        if not self._gathered:
            return
        end = End(self._seq, self._prev)
        with self._worker.changing():
            last = self._blocks[-1] if self._blocks else None
            # The first block is the thread's while it writes.
            if last is None or last is self._blocks[0] or len(last.lines) >= _BLOCK:
                self._blocks.append(_Block(self._gathered, time.monotonic(), end))
            else:
                last.lines += self._gathered
                last.end = end
            self._size += len(self._gathered)
            self._gathered = bytearray()

    def close(self, within: float = _CLOSE_WITHIN) -> int:
        """Write what is left, and give up after so many seconds; returns how many records were given up."""
        self.commit()
        self._worker.close(within)
        if left := self.unwritten:
            log.error("%d records could not be written: %s", left, self._trouble or "the storage does not answer")
        return left

    def _run(self) -> None:
        while self._step():
            pass
        self._close()

    def _step(self) -> bool:
        """Wait for work and do it; false at the end."""
        with self._worker.when(self._is_due, self._timeout()):
            closing, block = self._worker.closing, self._blocks[0] if self._blocks and self._is_due() else None
        wrote = block is not None and self._attempt(partial(self._put, block))
        if closing:
            return wrote and bool(self._blocks)
        if time.monotonic() >= self._maintain_at:
            self._maintain_at = time.monotonic() + _MAINTAIN_EVERY
            if self._attempt(self._maintain) and not self._blocks:
                self._recovered()
        return True

    def _is_due(self) -> bool:
        return self._worker.closing or (bool(self._blocks) and self._due_in() <= 0)

    def _due_in(self) -> float:
        """In how many seconds the first block may be written; 0 at once where a lot waits."""
        now = time.monotonic()
        batch = self._blocks[0].since + self._interval - now if self._size < _BLOCK else 0.0
        return max(batch, self._retry_at - now)

    def _timeout(self) -> float:
        timeout = max(0.0, self._maintain_at - time.monotonic())
        return min(timeout, max(0.0, self._due_in())) if self._blocks else timeout

    def _put(self, block: _Block) -> None:
        while block.lines:
            done = self._sink.write(block.lines)
            self._waiting_since = time.monotonic()
            if done:
                self._unsaved = block.end if done == len(block.lines) else _end_within(block.lines, done)
                self._written = self._unsaved.seq
                with self._worker.lock:
                    del block.lines[:done]
                    self._size -= done
        with self._worker.lock:
            self._blocks.popleft()
        self._save()
        self._recovered()

    def _maintain(self) -> None:
        self._sink.maintain()
        self._save()

    def _save(self) -> None:
        if self._unsaved:
            self._state.save(self._unsaved)
            self._unsaved = None

    def _attempt(self, what: Callable[[], None]) -> bool:
        self._waiting_since = time.monotonic()
        try:
            what()
        except OSError as error:
            self._failed(error)
            return False
        finally:
            self._waiting_since = None
        return True

    def _failed(self, error: OSError) -> None:
        self._refused += 1
        trouble = f"the trail cannot be written: {error}"
        if trouble != self._trouble:
            log.warning("%s; its records wait", trouble)
        self._trouble = trouble
        self._retry_at = time.monotonic() + self._backoff.next()

    def _recovered(self) -> None:
        if self._trouble:
            log.info("the trail is written again")
        self._trouble, self._retry_at = None, 0.0
        self._backoff.reset()

    def _close(self) -> None:
        self._sink.close()
        try:
            self._save()
            self._state.close()
        except OSError as error:
            self._failed(error)


def _end_within(lines: bytearray, done: int) -> End:
    """The chain's end with the last of the lines in the first bytes."""
    return end_of(bytes(lines[lines.rfind(b"\n", 0, done - 1) + 1 : done]))


def _is_evidence(record: Record) -> bool:
    return record.kind in ALWAYS_WRITTEN or record.origin == "untracked"
