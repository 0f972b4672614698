"""The gaps of trails, kept until it is known which of them matter for a session."""

from collections import deque

from exectrail.contracts.record import Record

MOST = 10_000
"""So many gaps of a container are kept, and so many of a node that are of no container: the last ones."""


class Gaps:
    """Those of all trails. However many there are of another node or container, none of a session's is dropped."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str | None], deque[Record]] = {}
        self._dropped: dict[tuple[str, str | None], tuple[str, str]] = {}
        """From when on and up to when some are not kept."""

    def add(self, gap: Record) -> None:
        """Keep one."""
        place = (gap.node.name, gap.container_id)
        kept = self._kept.setdefault(place, deque(maxlen=MOST))
        if len(kept) == MOST:
            begin, end = _begin(kept[0]), kept[0].timestamp
            first, last = self._dropped.get(place, (begin, end))
            self._dropped[place] = (min(first, begin), max(last, end))
        kept.append(gap)

    def during(self, records: list[Record]) -> list[Record]:
        """Those that may have taken something of these records' session: on its node, in its container, in its time."""
        if not records:
            return []
        begin, end = min(r.timestamp for r in records), max(r.timestamp for r in records)
        last = max(record.seq for record in records)
        every = [gap for place in _places(records) for gap in self._kept.get(place, ())]
        return [
            gap
            for gap in sorted(every, key=lambda gap: gap.seq)
            if gap.timestamp >= begin and (gap.seq < last or _begin(gap) <= end)
        ]

    def dropped_during(self, records: list[Record]) -> bool:
        """Whether some are not kept that may be among these."""
        if not records:
            return False
        begin, end = min(r.timestamp for r in records), max(r.timestamp for r in records)
        dropped = [self._dropped[place] for place in _places(records) if place in self._dropped]
        return any(first <= end and last >= begin for first, last in dropped)


def _begin(gap: Record) -> str:
    return gap.since or gap.timestamp


def _places(records: list[Record]) -> set[tuple[str, str | None]]:
    return {(records[0].node.name, each) for each in (None, *(record.container_id for record in records))}
