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
from datetime import datetime
from pathlib import Path
from queue import Empty, Queue
from typing import IO

import msgspec

from exectrail.reading import tail
from exectrail.reading.cluster import LiveTrail, live_trails
from exectrail.reading.kubectl import Kubectl, KubectlError
from exectrail.reading.tail import IDLE, Cursor
from exectrail.reading.trail import FOLLOWS, Follows, Source

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


class Ended(Exception):
    """The one who reads has gone."""


class Live:
    """Gathers lines from several sources, in the order in which they come."""

    def __init__(self) -> None:
        self._queue: Queue[bytes | Notice | None] = Queue(_WAITING)
        self._ended = threading.Event()
        self._running = 0

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
            else:
                yield item

    def end(self) -> None:
        """Have all threads end, at their next line or wait."""
        self._ended.set()
        while not self._queue.empty():  # one may wait for room
            self._queue.get()

    def follow_file(self, file: Path, after: int | None, since: datetime | None = None) -> None:
        """Follow a file, from now on or after a number; without segments that were closed before `since`.

        Raises:
            OSError: It is not there, or cannot be read.

        """
        lines = tail.added(file, after, since)
        first = next(lines)

        def run() -> None:
            self._put(first)
            try:
                for line in lines:
                    if line is IDLE:
                        self._wait(POLL)
                    else:
                        self._put(line)
            except OSError as error:
                self._put(Notice(f"{file}: {error.strerror or error}"))

        self._start(run)

    def read(self, source: Source) -> None:
        """Read a stream to its end.

        Raises:
            OSError: It cannot be opened.

        """
        opened = ExitStack()
        stream = opened.enter_context(source.open())

        def run() -> None:
            with opened:
                for line in stream:
                    self._put(line.rstrip(b"\n"))

        self._start(run)

    def follow_cluster(
        self, kubectl: Kubectl, after: dict[str, int], *, since: datetime | None, node: str | None
    ) -> None:
        """Follow the trails of all nodes, also of those that come later; or of one.

        Args:
            kubectl: What reads them.
            after: By node, the number after which to begin.
            since: From when on what is there is of interest where there is no such number; None: from now on.
            node: The only node, if it is one.

        Raises:
            KubectlError: The pods cannot be listed, or none runs.

        """
        known: set[str] = set()

        def look() -> None:
            for name in live_trails(kubectl, node, since):
                if name not in known:
                    known.add(name)
                    first = after.get(name, tail.ALL if since else None)
                    self._start(lambda name=name, first=first: self._follow_node(kubectl, name, first, since))  # type: ignore[misc]

        def run() -> None:
            while True:
                self._wait(NEW_NODES)
                with suppress(KubectlError):  # each node's thread says so of its own
                    look()

        look()
        self._start(run)

    def _follow_node(self, kubectl: Kubectl, node: str, after: int | None, since: datetime | None) -> None:
        cursor = Cursor(tail.ALL if after is None else after)
        begun = after is not None
        wait = FIRST_WAIT
        while True:
            began = time.monotonic()
            try:
                found = live_trails(kubectl, node, since)[node]
                with found.open(cursor.after if begun else None, cursor.time) as stream:
                    for line in self._lines(stream, found):
                        if line.startswith(FOLLOWS):
                            begun, cursor.after = True, msgspec.json.decode(line, type=Follows).after
                        elif line and cursor.is_new(line):
                            begun = True
                            self._put(line)
                why = "the connection ended"
            except KubectlError as error:
                why = str(error)
            self._put(Notice(f"trail of node {node}: {why}; trying again"))
            wait = FIRST_WAIT if time.monotonic() - began > _SILENT else min(2 * wait, _LONGEST_WAIT)
            self._wait(wait)

    def _lines(self, stream: IO[bytes], found: LiveTrail) -> Iterator[bytes]:
        """Lines of a process's output; ends where it is silent for too long, though it should not be."""
        rest = b""
        number = stream.fileno()
        while True:
            if found.speaks and os.name == "posix" and not select.select([number], [], [], _SILENT)[0]:
                raise KubectlError("no sign of life")
            if self._ended.is_set():
                raise Ended
            data = os.read(number, _READ)
            if not data:
                return
            *whole, rest = (rest + data).split(b"\n")
            yield from whole

    def _start(self, run: Callable[[], None]) -> None:
        self._running += 1

        def whole() -> None:
            with suppress(Ended):
                run()
            self._queue.put(None)

        threading.Thread(target=whole, daemon=True).start()

    def _put(self, item: bytes | Notice) -> None:
        if self._ended.is_set():
            raise Ended
        if isinstance(item, Notice) or item.strip():
            self._queue.put(item)

    def _wait(self, seconds: float) -> None:
        if self._ended.wait(seconds):
            raise Ended
