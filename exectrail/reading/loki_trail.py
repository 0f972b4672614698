"""The trail in Loki: the lines of all nodes by the time of their writing, page by page, and whether all are there.

Of the lines only those of interest are fetched. Whether records are missing can be seen of their numbers alone, so
Loki is asked for the first and last of each node and how many there are. The end mark then says so (`trail.End`).
"""

import io
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import IO, Any

import msgspec

from exectrail.contracts.unreadable import UNREADABLE
from exectrail.reading.blocks import BLOCK
from exectrail.reading.loki import SECOND, Line, Loki, LokiError, TooLong, TooManyLines
from exectrail.reading.report import Chain, Report
from exectrail.reading.shell import visible
from exectrail.reading.trail import GAP, End, Source, head_of

SELECTOR = '{app="exectrail", node!="", kind!=""}'
"""The streams as the recipe config.alloy labels them. Another pod's, whose label `app` says the same, has no `kind`."""

_LIMIT = 1000
"""Lines of an answer: 1 MiB or so, of the 4 MiB that fit with Loki's defaults."""
_FEWEST = 10
"""So many of the longest lines fit."""
_HOUR = 3600 * SECOND
_LONGEST = 721 * _HOUR
"""Of one query: Loki's default, a month and an hour."""
_CHECKED = 24 * _HOUR
"""So much is counted by one query."""


@dataclass(frozen=True)
class LokiTrail:
    """What Loki has of a time.

    Args:
        loki: Where.
        selector: Which streams are the trail, in LogQL.
        start: From when on, in seconds since 1970.
        end: Until before when, likewise.
        report: Where it is said what could not be read.

    """

    loki: Loki
    selector: str
    start: int
    end: int
    report: Report

    def source(self, needles: tuple[bytes, ...]) -> Source:
        """The lines that have one of the needles."""
        return Source(self._name, lambda: self._open(_Reading(self, needles)), marked=True)

    def about(self, uid: str) -> Source:
        """The lines that name a session, by its UID or the beginning of it, and all gaps."""
        needle = uid.encode(errors="surrogateescape")
        return Source(self._name, lambda: self._open(_Reading(self, (needle, GAP), (needle,))), marked=True)

    def of_entries(self, keys: Iterable[str]) -> Source:
        """The lines that name one of these entries, by their keys."""
        needles = tuple(key.encode(errors="surrogateescape") for key in keys)
        return Source(self._name, lambda: self._open(_Reading(self, needles, needles)), marked=True)

    @property
    def _name(self) -> str:
        return f"Loki at {visible(self.loki.url)}"

    @staticmethod
    def _open(reading: "_Reading") -> AbstractContextManager[IO[bytes]]:
        return io.BufferedReader(_Stream(reading.blocks()), BLOCK)


@dataclass
class _Reading:
    """One pass over the lines."""

    of: LokiTrail
    needles: tuple[bytes, ...]
    about: tuple[bytes, ...] | None = None
    """Only where a line has one of these, its time counts for what must be whole."""
    times: list[int] = field(default_factory=list)
    """The first and the last time that counts."""

    def blocks(self) -> Iterator[bytes]:
        """The lines, and the end mark.

        Raises:
            LokiError: Not even the first page could be read.

        """
        trail, begun, numbers = self.of, False, dict[str, list[tuple[int, int]]]()
        try:
            for page in self._pages():
                begun = True
                self._note(page)
                yield b"".join(line.encode(errors="replace") + b"\n" for _, line in page)
        except LokiError as error:
            if not begun:
                raise
            trail.report.problems.append(f"{self._name}: only a part was read: {error}")
        else:
            numbers = self._numbers()
        chains = [Chain(node, ranges) for node, ranges in numbers.items()]
        yield msgspec.json.encode(End(chains, 0)) + b"\n"

    def _pages(self) -> Iterator[list[Line]]:
        """Each line once, in the order of writing; of one moment in that of their numbers."""
        trail, query = self.of, self.of.selector + among(self.needles)
        start, end = trail.start * SECOND, trail.end * SECOND
        limit, span = _LIMIT, _LONGEST
        while start < end:
            until = min(start + span, end)
            try:
                page = trail.loki.lines(query, start, until, limit)
            except TooManyLines as error:
                if not _FEWEST <= error.most < limit:
                    raise
                limit = error.most
                continue
            except TooLong:
                if span <= _HOUR:
                    raise
                span //= 2
                continue
            page.sort(key=_order)
            if len(page) < limit:
                yield page
                start = until
                continue
            last = page[-1][0]
            if page[0][0] < last:
                # The last moment may have more lines: the next page begins with it.
                yield [line for line in page if line[0] < last]
                start = last
            else:
                trail.report.problems.append(
                    f"{self._name}: more than {limit} lines of one moment ({last} ns), of which Loki gives no more;"
                    " raise its max_entries_limit_per_query"
                )
                yield page
                start = last + 1

    def _note(self, page: list[Line]) -> None:
        if self.about is None:
            return
        texts = [each.decode(errors="replace") for each in self.about]
        times = [*self.times, *(time for time, line in page if any(text in line for text in texts))]
        self.times = [min(times), max(times)] if times else []

    def _numbers(self) -> dict[str, list[tuple[int, int]]]:
        """The numbers of each node, where none is missing; of others a problem is reported."""
        trail = self.of
        start, end = trail.start * SECOND, trail.end * SECOND
        if self.about is not None:
            if not self.times:
                return {}
            start, end = (self.times[0] // SECOND) * SECOND, (self.times[1] // SECOND + 1) * SECOND
        try:
            counted = _counted(trail.loki, trail.selector, start, end)
        except LokiError as error:
            trail.report.problems.append(f"{self._name}: whether records are missing cannot be seen: {error}")
            return {}
        whole = {}
        for node, (first, last, count) in counted.items():
            anew = "" if first else ", or its trail began anew at 0"
            expected = last - first + 1
            if count == expected:
                whole[node] = [(first, last)]
            elif count < expected:
                trail.report.problems.append(
                    f"{self._name}: node {visible(node)}: of the records {first} to {last},"
                    f" {expected - count} did not arrive there{anew}"
                )
            else:
                trail.report.problems.append(
                    f"{self._name}: node {visible(node)}: some of the records {first} to {last} are there more than"
                    f" once{anew}, so whether others are missing cannot be seen"
                )
        return whole

    @property
    def _name(self) -> str:
        return self.of._name  # noqa: SLF001 - of the same module


def among(needles: Iterable[bytes]) -> str:
    """The LogQL filter for lines that have one of the needles."""
    texts = [needle.decode(errors="replace") for needle in needles]
    if len(texts) == 1:
        return f" |= {_quoted(texts[0])}"
    return f" |~ {_quoted('|'.join(map(re.escape, texts)))}"


def _quoted(text: str) -> str:
    """A string of LogQL, which is one of Go: its escapes are those of JSON, but for that of a slash."""
    return json.dumps(text, ensure_ascii=False)


def _order(line: Line) -> tuple[int, int]:
    try:
        return line[0], head_of(line[1].encode(errors="replace")).seq
    except UNREADABLE:  # to be counted by the reader
        return line[0], 0


def _counted(loki: Loki, selector: str, start: int, end: int) -> dict[str, tuple[int, int, int]]:
    """Of each node the first number, the last one, and how many there are."""
    found: dict[str, tuple[int, int, int]] = {}
    while start < end:
        until = min(start + _CHECKED, end)
        # A range is open at its beginning and closed at its end; that of lines is the other way round.
        seconds, at = (until - start) // SECOND, until - 1
        unwrap = f'{selector} | json n="node.name", seq="seq" | unwrap seq | __error__="" [{seconds}s]'
        firsts = loki.numbers(f"min_over_time({unwrap}) by (n)", at, "n")
        lasts = loki.numbers(f"max_over_time({unwrap}) by (n)", at, "n")
        counts = loki.numbers(
            f'sum by (n) (count_over_time({selector} | json n="node.name" | n!="" [{seconds}s]))', at, "n"
        )
        for node in firsts.keys() & lasts.keys() & counts.keys():
            first, last, count = found.get(node, (firsts[node], lasts[node], 0))
            found[node] = (min(first, firsts[node]), max(last, lasts[node]), count + counts[node])
        start = until
    return found


class _Stream(io.RawIOBase):
    """Bytes that are read while they come."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._rest = blocks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - collections.abc.Buffer came with Python 3.12
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        data, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)
