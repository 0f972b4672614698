"""What a later record says of an entry's earlier ones: a request that showed late, or a UID that turned out forged.

Records are never changed. The enricher writes a second `session` record instead, which holds for all with its
`entryKey`.
"""

from collections.abc import Collection, Iterable, Iterator

from msgspec.structs import replace

from exectrail.contracts.record import Record
from exectrail.reading import trail
from exectrail.reading.kubectl import KubectlError
from exectrail.reading.process_tree import ABOUT_PROCESSES
from exectrail.reading.report import Report
from exectrail.reading.summary import LATE


def corrects(record: Record) -> bool:
    """Whether a record says of its entry what was not known when the ones before it were written."""
    return record.kind == "session" and record.phase == "start" and (record.reason == LATE or record.state == "forged")


def settled(records: Iterable[Record]) -> list[Record]:
    """The records as they would be, had all been known at once; as many, in the same order."""
    every = list(records)
    last: dict[tuple[str, str | None], Record] = {}
    for record in every:
        if corrects(record) and record.entry_key and record.seq >= last.get(_entry(record), record).seq:
            last[_entry(record)] = record
    if not last:  # as in nearly all of a million
        return every
    return [_corrected(record, last.get(_entry(record))) for record in every]


def unseen(records: Iterable[Record]) -> set[tuple[str, str]]:
    """The entries, by node and key, that did things before their request showed which are not among these records.

    They had no tag, or one that is not theirs: those things are under another UID, or under none.
    """
    first: dict[tuple[str, str], Record] = {}
    for record in sorted(records, key=lambda record: record.seq):
        if record.entry_key:
            first.setdefault((record.node.name, record.entry_key), record)
    return {entry for entry, record in first.items() if record.reason == LATE}


def earlier(
    entries: Collection[tuple[str, str]], sources: Iterable[trail.Source], report: Report
) -> Iterator[tuple[Record, bytes]]:
    """What these entries did before their request showed, with its lines; the report has what could not be read."""
    needles = tuple(key.encode(errors="surrogateescape") for _, key in entries)
    for source in sources:
        try:
            for line in trail.lines(source, needles, report):
                record = trail.understood(line, report)
                if record and _is_of(record, entries):
                    yield record, line
        except trail.Unreadable as error:
            report.problems.append(str(error))
        except KubectlError as error:
            report.problems.append(f"{source.name}: {error}")


def _is_of(record: Record, entries: Collection[tuple[str, str]]) -> bool:
    return (
        record.kind in ABOUT_PROCESSES
        and (record.node.name, record.entry_key or "") in entries
        and record.state != "confirmed"
    )


def _entry(record: Record) -> tuple[str, str | None]:
    return record.node.name, record.entry_key


def _corrected(record: Record, by: Record | None) -> Record:
    if by is None or record.seq >= by.seq or record.state == "confirmed":
        return record
    weak = list(dict.fromkeys([*(record.weak or ()), *(by.weak or ())])) or None
    return replace(
        record, origin=by.origin, user=by.user, request_uid=by.request_uid, state=by.state, candidates=None, weak=weak
    )
