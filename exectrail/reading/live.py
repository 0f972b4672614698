"""The records of all nodes, or of files, while they are written: over restarts of pods, rotation and lost connections.

Each source has a thread. One of a cluster begins anew after its last number whenever its connection ends, so that
nothing is missed and nothing comes twice.
"""

import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from queue import Empty, Queue
from typing import IO

import msgspec

from exectrail.contracts.unreadable import UNREADABLE
from exectrail.reading import blocks, tail
from exectrail.reading.cluster import Cluster, LiveTrail, NoPod, live_trails
from exectrail.reading.kubectl import KubectlError
from exectrail.reading.segments import CLOCK_SLACK
from exectrail.reading.summary import moment
from exectrail.reading.tail import IDLE, Cursor
from exectrail.reading.trail import FOLLOWS, Follows, Source, Unframed, Unreadable, refusal

POLL = 0.2
"""Seconds between two looks at a file."""
NEW_NODES = 15.0
"""Seconds between two looks for nodes that came."""
FIRST_WAIT = 1.0
"""Seconds before a lost connection is tried again; doubled each time, up to `_LONGEST_WAIT`."""
_LONGEST_WAIT = 15.0
_SILENT = 30.0
"""Seconds after which a connection counts as lost: the reader says something every 5 seconds."""
_WAITING = 10_000
_READ = 1 << 16


@dataclass(frozen=True)
class Notice:
    """What a person should know, e.g. that a connection was lost."""

    text: str
    lost: bool = False
    """Whether nothing more comes of a source that has more."""


class Ended(Exception):
    """The one who reads has gone."""


@dataclass
class _Place:
    """How far a node's trail has been followed."""

    cursor: Cursor
    since: datetime | None = None
    """From when on what is there is of interest; None, once there is a number to go on from."""
    drops: bool = False
    """Whether what is from before that is left out."""
    from_now: bool = False
    """Whether to leave out what is there: at the first connection to a node that is there from the beginning on."""

    def begins(self, follows: Follows) -> None:
        """Take the reader's word after which number it begins: the one it was given, or its own."""
        if follows.after != self.cursor.after:
            self.cursor = Cursor(follows.after, follows.time)
        if self.from_now and follows.after != tail.ALL:
            self.since = None

    def new(self, line: bytes) -> bytes | None:
        """A line's record, if it is new and of interest."""
        record = self.cursor.new(line)
        if record is None:
            return None
        at = moment(self.cursor.time)
        if self.since and at:
            if self.drops and not self.from_now and at < self.since - CLOCK_SLACK:
                return None
            self.since = None
        return record


def _readable(number: int, seconds: float) -> bool:
    """Whether something comes in time. With `select` no number above 1023 could be asked for: some hundred nodes."""
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _record(unframed: Unframed, line: bytes) -> bytes:
    """A line's record; the line itself where it is none, and an empty one for what is to be ignored."""
    try:
        record, head = unframed.record(line)
    except UNREADABLE:
        return line
    return record if head else b""


def refuse(source: Source) -> None:
    """Refuse a file that has lines of which none is a record: as far as its beginning shows.

    Raises:
        Unreadable: It is one.
        OSError: It cannot be read.

    """
    with source.open() as stream:
        block = next(blocks.forwards(stream), b"")
    unframed, why = Unframed(), ""
    whole = block[: block.rfind(b"\n") + 1]  # what is being written is no line yet
    for line in filter(bytes.strip, whole.split(b"\n")):
        try:
            if unframed.record(line)[1]:
                return
        except UNREADABLE:
            why = why or refusal(line)
    if why:
        raise Unreadable(f"{source.name}: {why}")


class Live:
    """Gathers lines from several sources, in the order in which they come."""

    def __init__(self) -> None:
        self._queue: Queue[bytes | Notice | Exception | None] = Queue(_WAITING)
        self._ended = threading.Event()
        self._running = 0
        self._refused: set[str] = set()

    def lines(self, timeout: float | None = None) -> Iterator[bytes | Notice]:
        """Lines and notices, until every source is at its end: a cluster never is.

        Where nothing comes for `timeout` seconds, an empty line does.
        """
        while self._running:
            try:
                item = self._queue.get(timeout=timeout)
            except Empty:
                yield b""
                continue
            if item is None:
                self._running -= 1
            elif isinstance(item, Exception):
                raise item
            else:
                yield item

    def end(self) -> None:
        """Have all threads end, at their next line or wait."""
        self._ended.set()
        while not self._queue.empty():  # one may wait for room
            self._queue.get()

    def follow_file(self, file: Path, after: Cursor | None, since: datetime | None = None) -> None:
        """Follow a file, from now on or after what is known; without segments that were closed before `since`.

        Raises:
            OSError: It is not there, or cannot be read.

        """
        lines = tail.added(file, after.after, since, after.time) if after else tail.added(file)
        first = next(lines)
        name = str(file)

        def run() -> None:
            self._take(name, first)
            try:
                for line in lines:
                    if line is IDLE:
                        self._wait(POLL)
                    else:
                        self._take(name, line)
            except OSError as error:
                self._put(Notice(f"{name}: {error.strerror or error}", lost=True))

        self._start(run)

    def read(self, source: Source) -> None:
        """Read a stream to its end.

        Raises:
            OSError: It cannot be opened.

        """
        opened = ExitStack()
        stream = opened.enter_context(source.open())

        def run() -> None:
            unframed = Unframed()
            try:
                with opened:
                    for block in blocks.forwards(stream):
                        for line in block.split(b"\n"):
                            self._take(source.name, _record(unframed, line))
            except OSError as error:
                self._put(Notice(f"{source.name}: {error.strerror or error}", lost=True))

        self._start(run)

    def follow_cluster(
        self, cluster: Cluster, after: dict[str, Cursor], *, since: datetime | None, node: str | None
    ) -> None:
        """Follow the trails of all nodes, also of those that come later; or of one.

        Args:
            cluster: The release.
            after: By node, what is known: after that it begins.
            since: From when on what is there is of interest where nothing is known; None: from now on.
            node: The only node, if it is one.

        Raises:
            KubectlError: It is not known which namespace to read, the pods cannot be listed, or none runs.

        """
        began = datetime.now(UTC)
        places = {name: _Place(cursor) for name, cursor in after.items()}
        followed: set[str] = set()
        said: set[str] = set()

        def look(*, at_start: bool) -> None:
            found = live_trails(cluster, node)
            for pod in found.unread.keys() - said:  # before the threads, which may fill the queue before it is read
                said.add(pod)
                self._put(Notice(found.unread[pod]))
            for name in found.by_node.keys() - followed:
                # Of a node that comes later, or whose pod did not run: all that it has from the beginning on.
                from_now = at_start and since is None
                place = places.setdefault(name, _Place(Cursor(), since or began, since is None, from_now))
                followed.add(name)
                self._start(partial(follow, name, place))

        def follow(name: str, place: _Place) -> None:
            self._follow_node(cluster, name, place)
            followed.remove(name)  # to be taken up where it was, if the node comes back

        def run() -> None:
            while True:
                self._wait(NEW_NODES)
                with suppress(KubectlError, OSError):  # each node's thread says so of its own
                    look(at_start=False)

        look(at_start=True)
        self._start(run)

    def _follow_node(self, cluster: Cluster, node: str, place: _Place) -> None:
        """Follow a node's trail until no pod of exectrail is there any more."""
        wait = FIRST_WAIT
        while True:
            began = time.monotonic()
            try:
                self._connect(cluster, node, place)
                why = "the connection ended"
            except NoPod:
                place.from_now = False
                self._put(Notice(f"trail of node {node}: no pod of exectrail is there now; followed on if one comes"))
                return
            except (KubectlError, OSError, *UNREADABLE) as error:  # also too many open files, a reader's broken line
                why = str(error)
            place.from_now = False
            self._put(Notice(f"trail of node {node}: {why}; trying again"))
            wait = FIRST_WAIT if time.monotonic() - began > _SILENT else min(2 * wait, _LONGEST_WAIT)
            self._wait(wait)

    def _connect(self, cluster: Cluster, node: str, place: _Place) -> None:
        """Read on from a place, up to the end of the connection."""
        from_now = place.from_now
        found = live_trails(cluster, node, None if from_now else place.since).by_node[node]
        with found.open(None if from_now else place.cursor.after, place.cursor.time) as stream:
            for line in self._lines(stream, found):
                if line.startswith(FOLLOWS):
                    place.begins(msgspec.json.decode(line, type=Follows))
                elif line and (record := place.new(line)):
                    self._take(f"trail of node {node}", record)

    def _lines(self, stream: IO[bytes], found: LiveTrail) -> Iterator[bytes]:
        """Lines of a process's output; ends where it is silent for too long, though it should not be."""
        lines = blocks.Lines()
        number = stream.fileno()
        while True:
            if found.speaks and os.name == "posix" and not _readable(number, _SILENT):
                raise KubectlError("no sign of life")
            if self._ended.is_set():
                raise Ended
            data = os.read(number, _READ)
            if not data:
                return
            yield from lines.of(data)

    def _start(self, run: Callable[[], None]) -> None:
        self._running += 1

        def whole() -> None:
            try:
                with suppress(Ended):
                    run()
            except Exception as error:  # noqa: BLE001 - a fault: raised where it is seen, in `lines`
                self._queue.put(error)
            self._queue.put(None)

        threading.Thread(target=whole, daemon=True).start()

    def _take(self, name: str, line: bytes) -> None:
        """Pass a line on. Of a source's first that is no record it is said at once: its end may never come."""
        if line.strip() and name not in self._refused and (why := refusal(line)):
            self._refused.add(name)
            self._put(Notice(f"{name}: {why}"))
        self._put(line)

    def _put(self, item: bytes | Notice) -> None:
        if self._ended.is_set():
            raise Ended
        if isinstance(item, Notice) or item.strip():
            self._queue.put(item)

    def _wait(self, seconds: float) -> None:
        if self._ended.wait(seconds):
            raise Ended
