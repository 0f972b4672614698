"""The sessions of trails, one after the other while they are read: a list may be longer than memory.

What tells of a session stands in two records, its start and its end, with others in between. So sessions wait in the
order of their starts until their ends have come. A session that goes on for days must not hold up the rest: once many
wait behind it, they are passed on, and it comes after them.
"""

from collections.abc import Callable, Iterable, Iterator
from heapq import merge, nlargest

from exectrail.contracts.record import Record
from exectrail.reading.report import Report
from exectrail.reading.summary import LATE, Summary, from_records, moment
from exectrail.reading.trail import (
    SESSION,
    Head,
    Source,
    Unreadable,
    first_head,
    lines,
    lines_backwards,
    understood,
)

MOST_WAITING = 10_000
"""So many sessions wait for one that has not ended."""
_MOST_OPEN = 50_000
"""More than could be open on a node: a selection of records in which no session ends."""

Keep = Callable[[Summary], bool]
"""Whether a session is of interest."""

_Key = tuple[str, str | None]
"""A session's UID; and the process, where that only claims the UID: it is no part of the session."""


def oldest_first(sources: Iterable[Source], keep: Keep, report: Report) -> Iterator[Summary]:
    """The sessions in the order of their starts, nearly: as the trail of each node has them."""
    nodes = [filter(keep, in_order(_records(chain, report))) for chain in chains(sources)]
    return iter(nodes[0]) if len(nodes) == 1 else merge(*nodes, key=_start)


def newest_first(sources: Iterable[Source], limit: int, keep: Keep, report: Report) -> Iterator[Summary]:
    """The latest sessions, the last one first; of plain files only as much is read as that takes."""
    nodes: list[Iterable[Summary]] = []
    for chain in chains(sources):
        if len(chain) == 1 and chain[0].path is None:
            found = nlargest(limit, filter(keep, in_order(_records(chain, report))), key=_start)
            nodes.append(found)
        else:
            nodes.append(filter(keep, in_reverse_order(_records_backwards(chain, report))))
    for count, summary in enumerate(merge(*nodes, key=_start, reverse=True), 1):
        yield summary
        if count == limit:
            return


def chains(sources: Iterable[Source]) -> list[list[Source]]:
    """The sources by node, the oldest of each first: a session may begin in one and end in the next."""
    by_node: dict[str, list[tuple[str, int, Source]]] = {}
    alone: list[list[Source]] = []
    for source in sources:
        head = _peek(source) if source.again else None
        if head:
            by_node.setdefault(head.node.name, []).append((head.timestamp, head.seq, source))
        else:
            alone.append([source])
    return [[each[2] for each in sorted(found, key=lambda each: each[:2])] for found in by_node.values()] + alone


def in_order(records: Iterable[Record]) -> Iterator[Summary]:
    """The sessions that `session` records are about, by their starts; and each process with a forged UID."""
    waiting: dict[_Key, list[Record]] = {}
    done: set[int] = set()  # by hash: a list may have a million
    first: _Key | None = None
    bound = MOST_WAITING
    for record in records:
        key: _Key | None = _key(record)
        if key is None or hash(key) in done:
            continue
        _take_back(key, waiting)
        first = first if first in waiting else next(iter(waiting), None)
        if key in waiting:
            waiting[key].append(record)
        else:
            waiting[key] = [record]
            first = first or key
        while first and key == first and _over(waiting[first]):
            yield _finished(first, waiting, done)
            key = first = next(iter(waiting), None)
        if len(waiting) > bound:
            for each in [each for each, found in waiting.items() if _over(found)]:
                yield _finished(each, waiting, done)
            while len(waiting) > _MOST_OPEN:
                yield _finished(next(iter(waiting)), waiting, done)
            first = next(iter(waiting), None)
            bound = len(waiting) + MOST_WAITING
    for key in list(waiting):
        yield _finished(key, waiting, done)


def in_reverse_order(records: Iterable[Record]) -> Iterator[Summary]:
    """The same from the last record on: a session is whole when its start comes."""
    begun: dict[_Key, list[Record]] = {}
    done: set[int] = set()
    for record in records:
        key = _key(record)
        if key and key[1] is None and hash((key[0], record.process_key)) in done:
            continue  # it was unconfirmed first, and forged in the end
        if key and hash(key) not in done:
            begun.setdefault(key, []).append(record)
            if _claims(record) or (record.phase == "start" and record.reason != LATE):
                yield _finished(key, begun, done)
    yield from (_finished(key, begun, done) for key in list(begun))


def _key(record: Record) -> _Key | None:
    """What a record is about. A forged one must neither end the genuine session nor pass for it."""
    if not record.request_uid:
        return None
    return record.request_uid, (record.process_key or "") if record.state == "forged" else None


def _take_back(key: _Key, waiting: dict[_Key, list[Record]]) -> None:
    """Take out of the genuine session what a process left in it before it turned out to forge the UID."""
    uid, forger = key
    if forger and (unconfirmed := waiting.get((uid, None))):
        unconfirmed[:] = [each for each in unconfirmed if each.process_key != forger]
        if not unconfirmed:
            del waiting[uid, None]


def _claims(record: Record) -> bool:
    """Whether it is all that there is of a process with a forged UID."""
    return record.state == "forged" and record.phase is None


def _finished(key: _Key, waiting: dict[_Key, list[Record]], done: set[int]) -> Summary:
    done.add(hash(key))
    return from_records(key[0], waiting.pop(key))


def _over(records: list[Record]) -> bool:
    """Whether nothing more is to come: it has a start and an end, or is an attach or a claim, which has one record.

    An unconfirmed one is not over: a later record may say whose it is.
    """
    if len(records) == 1:
        (only,) = records
        attach = only.request is not None and only.request.verb == "attach"
        return _claims(only) or (attach and only.phase == "start" and only.state == "confirmed")
    started = ended = decided = False
    for record in records:
        started = started or record.phase == "start"
        ended = ended or record.phase == "end"
        decided = decided or record.state in ("confirmed", "forged")
    return started and ended and decided


def _records(chain: Iterable[Source], report: Report) -> Iterator[Record]:
    for source in chain:
        try:
            for line in lines(source, (SESSION,), report):
                record = understood(line, report)
                if record:
                    yield record
            report.sources += 1
        except Unreadable as error:
            report.problems.append(str(error))


def _records_backwards(chain: list[Source], report: Report) -> Iterator[Record]:
    for source in reversed(chain):
        report.sources += 1  # at once: it may be read no further than is asked for
        try:
            found = (
                lines_backwards(source, (SESSION,), report)
                if source.path
                else reversed(list(lines(source, (SESSION,), report)))
            )
            for line in found:
                record = understood(line, report)
                if record:
                    yield record
        except Unreadable as error:
            report.sources -= 1
            report.problems.append(str(error))


def _peek(source: Source) -> Head | None:
    try:
        return first_head(source)
    except Unreadable:  # to be said when it is read
        return None


def _start(summary: Summary) -> float:
    at = moment(summary.start_time)
    return at.timestamp() if at else 0.0
