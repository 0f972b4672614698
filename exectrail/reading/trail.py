"""Reading a trail: the records of interest from a stream of JSON lines, in memory proportional to those records.

A trail may be large, in use, cut or damaged. Lines that are no records are counted and the rest is read; only a
source without a single record in it is refused, since that is a wrong file and not a damaged one.

Records as an enricher writes them are recognised by the block: where all its lines are JSON of one node, each with the
next number, only those of interest are looked at any further. What is written otherwise, or damaged, is read line by
line. What was edited inside a line goes unseen as long as that holds: `prev` is not compared.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import msgspec

from exectrail.contracts.record import VERSION, Node, Record, decode, encode
from exectrail.contracts.seal import GENESIS
from exectrail.contracts.unreadable import UNREADABLE
from exectrail.reading import blocks
from exectrail.reading.frames import Frames, hint
from exectrail.reading.kubectl import KubectlError
from exectrail.reading.report import Chain, Report
from exectrail.reading.shell import visible

SESSION = b',"kind":"session","auditID":"'
"""In each `session` record as it is encoded, and in no other: a quote in a value is escaped."""
GAP = b',"kind":"gap","auditID":"'
"""The same for `gap`."""
EXEC = b',"kind":"exec","auditID":"'
"""The same for `exec`."""
UNTRACKED = b'"origin":"untracked"'
"""In each record of a process that came in without a request."""
OF_A_REQUEST = b'"requestUID":"'
"""In each record that is of a request."""
OF_ONE_OF_SEVERAL = b'"candidates":['
"""In each that is of one of several requests."""
SELECTIONS = {
    "untracked": (UNTRACKED,),
    "execs": (SESSION, EXEC),
    "sessions": (OF_A_REQUEST, OF_ONE_OF_SEVERAL, GAP),
}
"""What a reader needs of a trail, by the names that the cluster's reader knows."""

END = b'{"kind":"end-of-trail"'
"""How the line begins by which the cluster's reader marks the end."""

_MOST_RANGES = 10_000
"""In a line: not half of what a line may have, with numbers of 20 digits."""
_START = f'{{"version":"{VERSION}","kind":"'.encode()
_END = b'"}\n'


class End(msgspec.Struct, tag_field="kind", tag="end-of-trail", omit_defaults=True):
    """The end mark, of a trail or of a selection of it."""

    chains: list[Chain]
    """Which numbers were read."""
    damaged: int
    """Lines that are no records."""
    problems: list[str] = []
    """What of the trail could not be read: a closed segment, while the others could."""
    more: bool = False
    """Whether the rest of the numbers follows: a mark is no longer than a line may be."""


def end_marks(report: Report) -> bytes:
    """The lines of the end mark: more than one only where very many ranges are missing."""
    ends = [
        End([msgspec.structs.replace(chain, ranges=chain.ranges[at : at + _MOST_RANGES])], 0, more=True)
        for chain in report.chains()
        for at in range(0, len(chain.ranges), _MOST_RANGES)
    ]
    few = sum(len(end.chains[0].ranges) for end in ends) <= _MOST_RANGES
    last = End([end.chains[0] for end in ends] if few else [], report.damaged, report.problems)
    return b"".join(msgspec.json.encode(end) + b"\n" for end in [*([] if few else ends), last])


class Follows(msgspec.Struct, tag_field="kind", tag="follows", omit_defaults=True):
    """The first line of a trail that is followed: begins after this number."""

    after: int
    time: str = ""
    """Of the record with this number, where the reader chose it."""


FOLLOWS = b'{"kind":"follows"'
"""How its line begins."""


class Unreadable(Exception):
    """A source cannot be read, or holds no trail; the message says which, where and what to do."""


@dataclass(frozen=True)
class Source:
    """Where lines come from."""

    name: str
    open: Callable[[], AbstractContextManager[IO[bytes]]]
    pod_log: bool = False
    """Whether it is a pod's log, in which an agent's own log lines are expected."""
    growing: bool = False
    """Whether it is being written: a last line without its end is no damage."""
    marked: bool = False
    """Whether its end is marked (`End`); what is read is a selection, and the mark says of which numbers."""
    path: Path | None = None
    """The file, where it is one that can be opened again, and not compressed."""
    again: bool = False
    """Whether it can be opened more than once."""
    goes_on: bool = False
    """Whether it goes on where the source before it ended, as a segment does."""


def read(source: Source, needles: tuple[bytes, ...] | None, report: Report) -> Iterator[Record]:
    """The records that contain one of the needles as they are encoded, or all, in the order of the source.

    Raises:
        Unreadable: The source cannot be opened or read, or has lines and none of them is a record.

    """
    for line in lines(source, needles, report):
        record = understood(line, report)
        if record:
            yield record


def read_all(sources: Iterable[Source], needles: tuple[bytes, ...] | None, report: Report) -> Iterator[Record]:
    """The same of several sources, one after the other; those that cannot be read are in the report."""
    for source in sources:
        try:
            yield from read(source, needles, report)
        except Unreadable as error:
            report.problems.append(str(error))
        except KubectlError as error:
            report.problems.append(f"{source.name}: {error}")
        else:
            report.sources += 1


def lines(source: Source, needles: tuple[bytes, ...] | None, report: Report) -> Iterator[bytes]:
    """The same, as lines: records but for what else may be wrong in them.

    Raises:
        Unreadable: As `read`.

    """
    try:
        with source.open() as stream:
            picked = _Picked(source, needles, report)
            if not source.goes_on:
                report.read_elsewhere()
            for block in blocks.forwards(stream):
                yield from picked.of(block)
            picked.close()
    except OSError as error:
        raise Unreadable(f"{source.name}: {error.strerror or error}") from error


def lines_backwards(source: Source, needles: tuple[bytes, ...] | None, report: Report) -> Iterator[bytes]:
    """The same, the last one first; of a source that has a `path`.

    Raises:
        Unreadable: As `read`.

    """
    if source.path is None:
        raise TypeError(f"{source.name} cannot be read from its end")
    try:
        with source.path.open("rb") as stream:
            picked = _Picked(source, needles, report)
            for block in blocks.backwards(stream):
                report.read_elsewhere()
                yield from reversed(list(picked.of(block)))
            picked.close()
    except OSError as error:
        raise Unreadable(f"{source.name}: {error.strerror or error}") from error


def first_head(source: Source) -> "Head | None":
    """The head of the first record near the beginning; None where there is none.

    Raises:
        Unreadable: The source cannot be opened or read.

    """
    try:
        with source.open() as stream:
            unframed = Unframed()
            for line in next(blocks.forwards(stream), b"").split(b"\n"):
                with suppress(*UNREADABLE):
                    if head := unframed.record(line)[1]:
                        return head
    except OSError as error:
        raise Unreadable(f"{source.name}: {error.strerror or error}") from error
    return None


def head_of(line: bytes) -> "Head":
    """What a line has if it is a record at all.

    Raises:
        msgspec.MsgspecError: It is none.

    """
    return _head.decode(line)


def refusal(line: bytes) -> str:
    """Why a line is no record, and what to do; empty where it is one."""
    try:
        _head.decode(line)
    except UNREADABLE as error:
        return _no_record(line, error)
    return ""


def understood(line: bytes, report: Report) -> Record | None:
    """The record of a line; None, and counted, where this version does not understand it."""
    try:
        return decode(line)
    except UNREADABLE as error:
        _count(line, error, report)
        return None


class Head(msgspec.Struct, rename={"audit_id": "auditID"}):
    """What every record has, whatever its kind and version."""

    version: str
    kind: str
    audit_id: str
    timestamp: str
    node: Node
    seq: int
    prev: str = ""


class _Place(msgspec.Struct, gc=False):
    """Of a record no more than its place, as each of a trail is looked at: whatever is decoded costs time."""

    version: Literal["spo/v1_alpha"]
    node: Node
    seq: int


class _LogLine(msgspec.Struct):
    """A line of an agent's own log (`exectrail.service.logs`)."""

    level: str
    message: str
    audit_id: msgspec.UnsetType | str = msgspec.field(name="auditID", default=msgspec.UNSET)


_head = msgspec.json.Decoder(Head)
_place = msgspec.json.Decoder(_Place)
_log_line = msgspec.json.Decoder(_LogLine)


class Unframed:
    """Takes records out of what stands around them, line by line, and leaves out an agent's own log."""

    def __init__(self) -> None:
        self._frames = Frames()

    @property
    def waits(self) -> bool:
        """Whether a record has begun in a frame and not ended."""
        return self._frames.waits

    def record(self, line: bytes) -> tuple[bytes, Head | None]:
        """A record's line without a frame, and its head; no head for what is to be ignored.

        Raises:
            ValueError, msgspec.MsgspecError, RecursionError: It is no record (`UNREADABLE`).

        """
        try:
            return line, _head.decode(line)
        except UNREADABLE:
            inner = self._frames.inside(line)
            if inner is None and not _is_log_line(line):
                raise
            if not inner or _is_log_line(inner):
                return line, None
            return inner, _head.decode(inner)


class _Picked:
    """The lines of interest of one source's blocks."""

    def __init__(self, source: Source, needles: tuple[bytes, ...] | None, report: Report) -> None:
        self._needles, self._report, self._name = needles, report, source.name
        self._proven = source.pod_log
        self._refusal = ""
        self._line = self._refused = 0
        self._unframed = Unframed()
        self._marked, self._ended = source.marked, False
        self._growing = source.growing or source.marked  # half a line was cut by the connection's end, which is said

    def of(self, block: bytes) -> Iterator[bytes]:
        """Those of a block."""
        if self._growing and not block.endswith(b"\n"):
            block = block[: block.rfind(b"\n") + 1]
        if intact := _intact(block):
            first, last = intact
            self._proven = True
            self._line += last.seq - first.seq + 1
            self._number(first, last)
            return _among(block, self._needles)
        return self._one_by_one(block)

    def close(self) -> None:
        """Refuse what held no record.

        Raises:
            Unreadable: There were lines, and none was a record.

        """
        if self._refusal and not self._proven:
            self._report.damaged -= self._refused
            raise Unreadable(self._refusal)
        if self._unframed.waits and not self._growing:
            self._report.damaged += 1
        if self._marked and not self._ended:
            self._report.problems.append(f"{self._name}: the connection ended before the trail did; try again")

    def _number(self, first: Head, last: Head) -> None:
        if self._marked:
            return
        if first.seq == 0 and first.prev == GENESIS:
            self._report.begin(first.node.name, first.audit_id, first.timestamp)
        self._report.add_numbers(first.node.name, first.seq, last.seq, last.timestamp)

    def _one_by_one(self, block: bytes) -> Iterator[bytes]:
        for line in block.removesuffix(b"\n").split(b"\n"):
            self._line += 1
            if not line or line.isspace() or (self._marked and self._is_end(line)):
                continue
            try:
                line, head = self._unframed.record(line)  # noqa: PLW2901 - it may have been in a frame
            except UNREADABLE as error:
                self._refuse(line, error)
                continue
            if head is None:
                continue
            self._proven = True
            self._number(head, head)
            if head.version != VERSION:
                self._report.misunderstood(f"version {head.version}")
            elif self._needles is None or _has(line, self._needles):
                yield line

    def _is_end(self, line: bytes) -> bool:
        if not line.startswith(END):
            return False
        try:
            end = msgspec.json.decode(line, type=End)
        except UNREADABLE:  # of another version
            return False
        for chain in end.chains:
            self._report.add_chain(chain)
        self._report.damaged += end.damaged
        self._report.problems += (f"{self._name}: {visible(problem)}" for problem in end.problems)
        self._ended, self._proven = not end.more, True
        return True

    def _refuse(self, line: bytes, error: Exception) -> None:
        self._report.damaged += 1
        self._refused += 1
        if not self._refusal:
            self._refusal = f"{self._name}:{self._line}: {_no_record(line, error)}"


def _intact(block: bytes) -> tuple[Head, Head] | None:
    """The heads of the first and the last of a block of one node's records in their order; None if it is not one."""
    if not block.startswith(_START) or not block.endswith(_END):
        return None
    try:
        places = _place.decode_lines(block)
    except UNREADABLE:
        return None
    node, first = places[0].node.name, places[0].seq
    for number, place in enumerate(places, first):
        if place.seq != number or place.node.name != node:
            return None
    try:
        return _head.decode(block[: block.index(b"\n")]), _head.decode(block[block.rfind(b"\n", 0, -1) + 1 :])
    except UNREADABLE:
        return None


def _among(block: bytes, needles: tuple[bytes, ...] | None) -> Iterator[bytes]:
    if needles is None:
        yield from block.removesuffix(b"\n").split(b"\n")
        return
    if len(needles) == 1:  # as most have it, in half the time
        (needle,) = needles
        at = block.find(needle)
        while at >= 0:
            end = block.index(b"\n", at)
            yield block[block.rfind(b"\n", 0, at) + 1 : end]
            at = block.find(needle, end)
        return
    found = {needle: block.find(needle) for needle in needles}
    while hits := [at for at in found.values() if at >= 0]:
        at = min(hits)
        end = block.index(b"\n", at)
        yield block[block.rfind(b"\n", 0, at) + 1 : end]
        for needle, last in found.items():
            if 0 <= last < end:
                found[needle] = block.find(needle, end)


def _has(line: bytes, needles: tuple[bytes, ...]) -> bool:
    """Whether a line has a needle, in whichever way its JSON is written."""
    if not line.startswith(_START):
        try:
            line = encode(decode(line))
        except UNREADABLE:  # to be counted by the reader
            return True
    return any(needle in line for needle in needles)


def _no_record(line: bytes, error: Exception) -> str:
    return f"not a record of a trail: {hint(line) or visible(str(error))}"


def _count(line: bytes, error: Exception, report: Report) -> None:
    try:
        _head.decode(line)
    except UNREADABLE:
        report.damaged += 1
    else:
        report.misunderstood(str(error))


def _is_log_line(line: bytes) -> bool:
    try:
        return _log_line.decode(line).audit_id is msgspec.UNSET
    except UNREADABLE:
        return False
