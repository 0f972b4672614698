"""What kept a reading from being the whole: damaged lines, numbers that are missing, sources that failed.

Each record of a node has the next number (`seq`), so what is missing in the middle can be seen. What was removed at
the beginning, by retention, is no loss; and a file that ends early looks like one that is still being written: only the
cluster's reader marks the end.

A node that has lost its state begins a new chain at 0, and nodes of two clusters may have one name. Each chain has
numbers of its own, and is known by its first record's `auditID`. What was read without a beginning, as a later file, is
of the chain that began last before it: so files may come in any order, and be read from their ends.
"""

from bisect import bisect
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from msgspec import Struct

from exectrail.contracts.record import Record
from exectrail.reading.shell import visible

_MOST_RANGES = 50_000
_MOST_CHAINS = 10_000
"""No node loses its state so often: beginnings after these are taken for more of the chain before."""
_SHOWN = 3
"""So many stretches of missing numbers are named."""


class Numbers:
    """The numbers of one chain's records that were read, as ranges: one, where nothing is missing."""

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int]] = []
        self.count = 0
        self.scattered = False
        """Whether so much is missing that it is no longer known what."""

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
                    self.scattered = True
                    self._ranges = [(self._ranges[0][0], self._ranges[-1][1])]
        self._ranges.append((first, last))

    def add_all(self, others: "Numbers") -> None:
        """Add those of another part of the chain."""
        ranges = others.ranges()
        for first, last in ranges:
            self.add(first, last)
        self.count += others.count - sum(last - first + 1 for first, last in ranges)
        self.scattered |= others.scattered

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


class Chain(Struct, omit_defaults=True):
    """Which numbers of a node's chain were read, or of a part of it."""

    node: str
    ranges: list[tuple[int, int]]
    id: str = ""
    """Its first record's `auditID`; empty where its beginning was not read."""
    begun: str = ""
    """That record's time."""
    last: str = ""
    """The time of the last one."""
    scattered: bool = False
    """Whether so much is missing that it is no longer known what."""


@dataclass
class _Stretch:
    """Records of a node that were read one after the other, and no other chain's beginning in between."""

    node: str
    id: str = ""
    begun: str = ""
    last: str = ""
    numbers: Numbers = field(default_factory=Numbers)


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
    incomplete: bool = False
    """Whether something is missing of which it was said already."""
    sources: int = 0
    """How many were read to their end."""
    _stretches: list[_Stretch] = field(default_factory=list)
    _begun: dict[tuple[str, str], _Stretch] = field(default_factory=dict)
    """Those that have a beginning, by node and chain."""
    _read: dict[str, _Stretch] = field(default_factory=dict)
    """Those that are being read, by node."""

    @property
    def records(self) -> int:
        """How many records were read, whether of interest or not."""
        return sum(stretch.numbers.count for stretch in self._stretches)

    @property
    def numbers(self) -> dict[str, Numbers]:
        """Of each node of which records were read, those of the chain that began last."""
        return {each.node: each.numbers for each in sorted(self._chains(), key=lambda each: each.begun)}

    @property
    def failed(self) -> bool:
        """Whether nothing could be read to its end."""
        return bool(self.problems) and not self.sources

    def read_elsewhere(self) -> None:
        """What is read next does not follow what was read last: it is of another source, or from before."""
        self._read.clear()

    def begin(self, node: str, chain: str, time: str) -> None:
        """What is read next of a node is of the chain that begins with this record."""
        stretch = self._begun.get((node, chain))
        if not stretch and len(self._begun) >= _MOST_CHAINS:
            return
        if not stretch:
            stretch = self._begun[node, chain] = _Stretch(node, chain, time)
            self._stretches.append(stretch)
        self._read[node] = stretch

    def add_numbers(self, node: str, first: int, last: int, time: str = "") -> None:
        """Add those of a node's records that were read, from `first` to `last`, which is of this time."""
        stretch = self._read.get(node)
        if not stretch:
            stretch = self._read[node] = _Stretch(node)
            self._stretches.append(stretch)
        stretch.numbers.add(first, last)
        stretch.last = max(stretch.last, time)

    def add_chain(self, chain: Chain) -> None:
        """Add what another reader read."""
        self.read_elsewhere()
        if chain.id:
            self.begin(chain.node, chain.id, chain.begun)
        for first, last in chain.ranges:
            self.add_numbers(chain.node, first, last, chain.last)
        if chain.scattered and chain.ranges:
            self._read[chain.node].numbers.scattered = True

    def chains(self) -> list[Chain]:
        """What was read of each."""
        return [
            Chain(each.node, each.numbers.ranges(), each.id, each.begun, each.last, each.numbers.scattered)
            for each in self._chains()
        ]

    def by_chain(self, records: list[Record]) -> list[tuple[Numbers, list[Record]]]:
        """Records of one node by the chains that they are of, in the order in which those began, with its numbers."""
        node = records[0].node.name
        chains = sorted((each for each in self._chains() if each.node == node), key=lambda each: each.begun)
        if not chains:
            return [(Numbers(), records)]
        found = defaultdict[int, list[Record]](list)
        for record in records:
            found[max(bisect(chains, record.timestamp, key=lambda each: each.begun) - 1, 0)].append(record)
        return [(chains[at].numbers, found[at]) for at in sorted(found)]

    def _chains(self) -> list[_Stretch]:
        """The stretches of each chain as one."""
        begun = defaultdict[str, list[_Stretch]](list)
        for each in sorted(self._begun.values(), key=lambda each: each.begun):
            begun[each.node].append(each)
        chains: dict[tuple[str, str], _Stretch] = {}
        for each in self._stretches:
            of_node = begun[each.node]
            at = bisect(of_node, each.last, key=lambda other: other.begun)
            of = each if each.id or not at else of_node[at - 1]
            chain = chains.setdefault((each.node, of.id), _Stretch(each.node, of.id, of.begun))
            chain.numbers.add_all(each.numbers)
            chain.last = max(chain.last, each.last)
        return list(chains.values())

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

        A trail that began anew, as its enricher had lost its state, has the same numbers, of other records. Where its
        beginning was not read it looks like a copy.
        """
        for each in self._chains():
            if repeated := each.numbers.repeated():
                records = "1 record has" if repeated == 1 else f"{repeated} records have"
                yield (
                    f"node {visible(each.node)}: {records} a number (seq) that was read before: either a copy of the"
                    " trail, whose records count twice, or the trail began anew at 0"
                )

    def gaps(self) -> Iterator[str]:
        """Which numbers are missing, a sentence for each chain."""
        for each in self._chains():
            if each.numbers.scattered:
                yield f"node {visible(each.node)}: most records are missing: what was read is a selection of a trail"
            elif missing := each.numbers.missing():
                yield missing_records(each.node, missing)


def missing_records(node: str, missing: list[tuple[int, int]]) -> str:
    """That these records are missing."""
    count = sum(last - first + 1 for first, last in missing)
    ranges = ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in missing[:_SHOWN])
    more = ", ..." if len(missing) > _SHOWN else ""
    records = "1 record is" if count == 1 else f"{count} records are"
    return f"node {visible(node)}: {records} missing in what was read (seq {ranges}{more})"
