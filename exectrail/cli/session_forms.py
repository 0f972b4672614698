"""Sessions in the forms that other programs read: an item for each, printed while they are read.

All of them keep what a terminal would obey as escapes.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator

import msgspec

from exectrail.reading.shell import join, visible
from exectrail.reading.summary import Summary

COLUMNS = (
    "startTime",
    "endTime",
    "user",
    "verb",
    "namespace",
    "pod",
    "container",
    "node",
    "outcome",
    "exitCode",
    "signal",
    "durationMs",
    "processes",
    "state",
    "requestUID",
    "command",
)
"""Of CSV."""


def as_json(sessions: Iterable[Summary]) -> Iterator[str]:
    """One JSON array, a line for each session."""
    yield "["
    before = None
    for line in as_jsonl(sessions):
        if before is not None:
            yield f"{before},"
        before = line
    if before is not None:
        yield before
    yield "]"


def as_jsonl(sessions: Iterable[Summary]) -> Iterator[str]:
    """A JSON object on each line, in ASCII."""
    for it in sessions:
        line = _encode(it)
        yield line.decode() if line.isascii() else json.dumps(json.loads(line), separators=(",", ":"))


def as_csv(sessions: Iterable[Summary], *, headers: bool) -> Iterator[str]:
    """Comma-separated values (RFC 4180); the command as a shell takes it."""
    rows = ([visible(cell) for cell in _cells(it)] for it in sessions)
    if headers:
        yield ",".join(COLUMNS)
    for row in rows:
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(row)
        yield line.getvalue()


def as_yaml(sessions: Iterable[Summary]) -> Iterator[str]:
    """A YAML list; its values are JSON, which YAML 1.2 contains."""
    empty = True
    for it in sessions:
        empty = False
        lead = "- "
        for name, value in msgspec.to_builtins(it).items():
            yield f"{lead}{name}: {_yaml(value)}"
            lead = "  "
    if empty:
        yield "[]"


def as_names(sessions: Iterable[Summary]) -> Iterator[str]:
    """UIDs."""
    return (visible(it.request_uid) for it in sessions)


def _cells(it: Summary) -> list[str]:
    how = it.exit
    return [
        it.start_time or "",
        it.end_time or "",
        it.user or "",
        it.verb or "",
        it.namespace or "",
        it.pod or "",
        it.container or "",
        it.node or "",
        it.outcome or "",
        "" if how is None or how.code is None else str(how.code),
        (how.signal if how else None) or "",
        "" if it.duration_ms is None else str(it.duration_ms),
        "" if it.processes is None else str(it.processes),
        it.state or "",
        it.request_uid,
        join(it.command or []),
    ]


def _yaml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_yaml(key)}: {_yaml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    if not isinstance(value, str):
        return json.dumps(value)
    # In JSON a character beyond the first plane is two escapes; to YAML that would be two characters.
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)


_encode: Callable[[Summary], bytes] = msgspec.json.Encoder().encode
