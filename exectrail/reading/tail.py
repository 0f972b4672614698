"""What is added to a trail from now on, or after a number: over rotation, and over readers that begin anew."""

import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO

from exectrail.contracts.seal import GENESIS
from exectrail.contracts.unreadable import UNREADABLE
from exectrail.reading import blocks
from exectrail.reading.gzipped import unpacked
from exectrail.reading.segments import GZ, Names, closed_before
from exectrail.reading.trail import Head, Unframed

IDLE = b""
"""Comes where nothing was added: time to wait a moment."""
ALL = -1
"""A number before all others."""
_GENESIS = GENESIS.encode()


class Cursor:
    """Which lines of a node's trail are new: a reader that begins anew brings some again.

    A trail whose state was lost begins at 0 again; such a beginning is new as well, unless it was there before. Where a
    log shipper has put several nodes' trails into one file, each has numbers of its own.
    """

    def __init__(self, after: int = ALL, time: str = "", node: str = "") -> None:
        self.after = after
        self.time = time
        """Of the last line, or of one before it."""
        self.node = node
        self._others: dict[str, Cursor] = {}
        self._unframed = Unframed()

    def new(self, line: bytes) -> bytes | None:
        """A line's record, without a frame, if it is new; it is the last one then. What is no record always is.

        An agent's own log never is.
        """
        try:
            record, head = self._unframed.record(line)
        except UNREADABLE:
            return line
        if head is None:
            return None
        of_node = self._of(head.node.name)
        begins_anew = head.seq == 0 and _GENESIS in record and head.timestamp > of_node.time
        if head.seq <= of_node.after and not begins_anew:
            return None
        of_node.after, of_node.time = head.seq, head.timestamp
        return record

    def _of(self, node: str) -> "Cursor":
        self.node = self.node or node
        return self if node == self.node else self._others.setdefault(node, Cursor(node=node))

    def new_of(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The same of several."""
        for line in lines:
            if line and (record := self.new(line)):
                yield record


def added(file: Path, after: int | None = None, since: datetime | None = None, time: str = "") -> Iterator[bytes]:
    """Whole lines that are added, and `IDLE` whenever there are none.

    Args:
        file: The one that is being written; it may be away for a moment.
        after: The number after which to begin; None: from now on.
        since: Segments that were closed before are left out.
        time: Of a record up to `after`: a trail that began at 0 before that has not begun anew.

    Raises:
        OSError: It cannot be read, or is not there at the beginning.

    """
    stream = file.open("rb")
    end = _end(stream)
    newest = _last(stream, end)
    known = newest.after if after is None else after
    is_at_end = known == newest.after
    cursor = Cursor(known, "" if begun_anew(newest, known) else time, newest.node if is_at_end else "")
    if is_at_end and after != ALL:  # a file without a record is read, too: it may be a wrong one
        stream.seek(end)
    else:
        stream.seek(0)
        yield from _of_closed(file, cursor, since)
    while True:
        with stream:
            yield from _until_rotated(file, stream, cursor)
        while not file.exists():
            yield IDLE
        stream = file.open("rb")
        yield from _of_closed(file, cursor, since)


def begun_anew(newest: Cursor, after: int) -> bool:
    """Whether a trail has begun at 0 since it had this number: it may count as new all that it has since."""
    return ALL < newest.after < after


def last(file: Path) -> Cursor:
    """The number and the time of a file's last whole line; `ALL` where it has none.

    Raises:
        OSError: It cannot be read.

    """
    with file.open("rb") as stream:
        return _last(stream, _end(stream))


def _until_rotated(file: Path, stream: IO[bytes], cursor: Cursor) -> Iterator[bytes]:
    lines = blocks.Lines()
    at_start = stream.tell() == 0
    while True:
        rotated = _is_another(file, stream)  # looked at before the last read, which then has all of it
        while data := stream.read(blocks.BLOCK):
            whole = lines.of(data)
            if whole and at_start:
                whole[0], at_start = whole[0].removeprefix(blocks.BOM), False
            yield from cursor.new_of(whole)
        if rotated:
            return
        yield IDLE


def _is_another(file: Path, stream: IO[bytes]) -> bool:
    """Whether the name stands for another file by now, or for the same one, emptied."""
    try:
        now, mine = file.stat(), os.fstat(stream.fileno())
    except FileNotFoundError:
        return True
    return now.st_ino != mine.st_ino or now.st_size < stream.tell()


def _of_closed(file: Path, cursor: Cursor, since: datetime | None) -> Iterator[bytes]:
    """What is new in closed segments: rotation may have come more than once, or before this began."""
    first = _first(file)
    if first is not None and first <= cursor.after + 1:
        return
    needed: list[Path] = []
    segments = Names(file.name).among(each.name for each in file.parent.iterdir())
    left_out = closed_before(since, file.parent, [segment.name for segment in segments])
    for segment in reversed(segments):
        if segment.name in left_out:
            break
        path = next((p for p in (file.with_name(segment.name), file.with_name(segment.name + GZ)) if p.exists()), None)
        if path is None:
            continue
        needed.insert(0, path)
        first = _first(path)
        if first is not None and first <= cursor.after + 1:
            break
    for path in needed:
        with unpacked(path.open("rb")) as stream:
            for block in blocks.forwards(stream):
                yield from cursor.new_of(block.split(b"\n"))


def _first(path: Path) -> int | None:
    with unpacked(path.open("rb")) as stream:
        for line in next(blocks.forwards(stream), b"").split(b"\n"):
            if head := _head_or_none(line):
                return head.seq
    return None


def _end(stream: IO[bytes]) -> int:
    """Where the last whole line ends."""
    end = stream.seek(0, os.SEEK_END)
    begin = stream.seek(max(0, end - blocks.LONGEST_LINE))
    return begin + stream.read(end - begin).rfind(b"\n") + 1


def _last(stream: IO[bytes], end: int) -> Cursor:
    for block in blocks.backwards(stream, end):
        for line in reversed(block.split(b"\n")):
            if head := _head_or_none(line):
                return Cursor(head.seq, head.timestamp, head.node.name)
    return Cursor()


def _head_or_none(line: bytes) -> Head | None:
    try:
        return Unframed().record(line)[1]
    except UNREADABLE:
        return None
