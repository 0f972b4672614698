"""What kept a reading from being the whole: damaged lines, numbers that are missing, sources that failed.

Each record of a node has the next number (`seq`), so what is missing in the middle can be seen. What was removed at
the beginning, by retention, is no loss; and a file that ends early looks like one that is still being written: only the
cluster's reader marks the end.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from exectrail.reading.shell import visible

_MOST_RANGES = 50_000
_SHOWN = 3
"""So many stretches of missing numbers are named."""


class Numbers:
    """The numbers of one node's records that were read, as ranges: one, where nothing is missing."""

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int]] = []
        self._scattered = 0
        self.count = 0

    def add(self, first: int, last: int) -> None:
        """Add those from `first` to `last`."""
        self.count += last - first + 1
        if self._ranges:
            begin, end = self._ranges[-1]
            if begin - 1 <= first <= end + 1 and last >= end:
                self._ranges[-1] = (min(begin, first), last)
                return
            if last == begin - 1:  # read backwards
                self._ranges[-1] = (first, end)
                return
            if len(self._ranges) >= _MOST_RANGES:
                self._ranges = self.ranges()
                if len(self._ranges) > _MOST_RANGES // 2:  # a selection of records, which has gaps everywhere
                    self._scattered += len(self._ranges) - 1
                    self._ranges = [(self._ranges[0][0], self._ranges[-1][1])]
        self._ranges.append((first, last))

    def missing(self) -> list[tuple[int, int]]:
        """The ranges that are missing between those that were read."""
        merged = self.ranges()
        return [(before[1] + 1, after[0] - 1) for before, after in pairwise(merged)]

    def ranges(self) -> list[tuple[int, int]]:
        """Those that were read, in order."""
        merged: list[tuple[int, int]] = []
        for first, last in sorted(self._ranges):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        return merged

    def repeated(self) -> int:
        """How many were read more than once; 0 as well where so much is missing that this is not known."""
        return 0 if self.scattered else self.count - sum(last - first + 1 for first, last in self.ranges())

    @property
    def scattered(self) -> bool:
        """Whether so much is missing that it is no longer known what."""
        return self._scattered > 0


@dataclass
class Report:
    """What to tell of a reading; nothing, where it was the whole."""

    damaged: int = 0
    """Lines that are no records."""
    unknown: dict[str, int] = field(default_factory=dict)
    """Records that this version does not understand, by why."""
    problems: list[str] = field(default_factory=list)
    """Sources that could not be read, or not to their end."""
    notes: list[str] = field(default_factory=list)
    """What a reader should know and that does not make the result less than the whole."""
    numbers: dict[str, Numbers] = field(default_factory=dict)
    """Of each node of which some were read."""

    incomplete: bool = False
    """Whether something is missing of which it was said already."""
    sources: int = 0
    """How many were read to their end."""

    @property
    def records(self) -> int:
        """How many records were read, whether of interest or not."""
        return sum(numbers.count for numbers in self.numbers.values())

    @property
    def failed(self) -> bool:
        """Whether nothing could be read to its end."""
        return bool(self.problems) and not self.sources

    def add_numbers(self, node: str, first: int, last: int) -> None:
        """Add those of a node's records that were read, from `first` to `last`."""
        self.numbers.setdefault(node, Numbers()).add(first, last)

    def misunderstood(self, why: str) -> None:
        """Count a record that this version does not understand; of many reasons only the first are kept apart."""
        key = why if why in self.unknown or len(self.unknown) < _SHOWN else "other reasons"
        self.unknown[key] = self.unknown.get(key, 0) + 1

    def sentences(self) -> Iterator[str]:
        """What was not read, a sentence each, apart from missing numbers."""
        yield from self.problems
        if self.damaged:
            yield "1 line was no record" if self.damaged == 1 else f"{self.damaged} lines were no records"
        for why, count in self.unknown.items():
            records = "1 record is" if count == 1 else f"{count} records are"
            yield f"{records} not understood ({visible(why)}): damaged, or of a newer exectrail; update this one"

    def repeats(self) -> Iterator[str]:
        """Which nodes have numbers that came again, a sentence for each: where a copy would count twice.

        A trail that began anew, as its enricher had lost its state, has the same numbers, of other records.
        """
        for node, numbers in self.numbers.items():
            if repeated := numbers.repeated():
                records = "1 record has" if repeated == 1 else f"{repeated} records have"
                yield (
                    f"node {visible(node)}: {records} a number (seq) that was read before: either a copy of the trail,"
                    " whose records count twice, or the trail began anew at 0"
                )

    def gaps(self) -> Iterator[str]:
        """Which numbers are missing, a sentence for each node."""
        for node, numbers in self.numbers.items():
            if numbers.scattered:
                yield f"node {visible(node)}: most records are missing: what was read is a selection of a trail"
            elif missing := numbers.missing():
                yield missing_records(node, missing)


def missing_records(node: str, missing: list[tuple[int, int]]) -> str:
    """That these records are missing."""
    count = sum(last - first + 1 for first, last in missing)
    ranges = ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in missing[:_SHOWN])
    more = ", ..." if len(missing) > _SHOWN else ""
    records = "1 record is" if count == 1 else f"{count} records are"
    return f"node {visible(node)}: {records} missing in what was read (seq {ranges}{more})"
