"""What a page says of a session: facts, and a row for each process. Pure.

All text that comes from a container or a user goes through `visible` or `join`: what does not print stands as an
escape. The template escapes it for HTML.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from exectrail.contracts.record import Exit, Record, decode, encode
from exectrail.reading import words
from exectrail.reading.finding import Found
from exectrail.reading.process_tree import ABOUT_PROCESSES, Process, build, key_of, processes_in, walk
from exectrail.reading.shell import join, visible, visible_json
from exectrail.reading.summary import Summary, claims, genuine, moment

DEEPEST = 24
"""Levels that are indented; deeper ones stand below each other, and say their level."""
_NARROWEST = 0.4
"""Percent of the width: a shorter bar could not be seen."""


class Fact(Struct, frozen=True):
    """A name and what stands beside it; `kind` is its style: `alarm`, `weak`, a result's (`kind_of`), or none."""

    name: str
    value: str
    kind: str = ""


class Line(Struct, frozen=True):
    """A program that a process ran, or failed to run."""

    text: str
    at: str = ""
    """Since the start of the session."""
    failed: str = ""
    note: str = ""


class Row(Struct, frozen=True):
    """A process."""

    depth: int
    lines: list[Line]
    pid: str
    result: str
    kind: str
    took: str
    left: float
    """Where its bar begins, in percent of the session's time; `width` likewise."""
    width: float
    marks: list[Fact]
    below: int
    """How many rows are deeper that follow it."""
    raw: list[str]
    """Its records, as they stand in the trail."""

    @property
    def indent(self) -> int:
        """Levels to indent."""
        return min(self.depth, DEEPEST)


class Section(Struct, frozen=True):
    """A session. Its rows can be read once: there may be many."""

    title: str
    facts: list[Fact]
    doubts: list[str]
    """Why what was read is not provably all of it."""
    gaps: list[str]
    took: str
    rows: Iterator[Row]
    count: int
    ambiguous: Iterator[Row]
    """Processes that this request or another one started."""
    ambiguous_count: int
    none: str
    """Why there is no row."""
    raw: list[str]
    """Records of the session itself, and of gaps."""


class Entry(Struct, frozen=True):
    """A line of the contents of a page with several sessions."""

    title: str
    started: str
    took: str
    result: str
    kind: str


def entry(summary: Summary) -> Entry:
    """The line of a session."""
    return Entry(
        title=words.heading(summary),
        started=utc(summary.start_time),
        took=words.span(summary.duration_ms),
        result=words.outcome(summary),
        kind=_session_kind(summary),
    )


def section(found: Found, doubts: Iterable[str]) -> Section:
    """All that a page says of a session."""
    records, of_two = found.records, found.ambiguous
    time = _Time(found.summary, [*records, *of_two])
    rows, count = _rows(records, found.lines, time)
    ambiguous, ambiguous_count = _rows(of_two, found.ambiguous_lines, time)
    about = [line for record, line in zip(records, found.lines, strict=True) if record.kind == "session"]
    about += [encode(gap).rstrip() for gap in found.gaps]
    return Section(
        title=words.heading(found.summary),
        facts=[fact for fact in _facts(found.summary, records) if fact.value],
        doubts=[visible(each) for each in doubts],
        gaps=[_gap(each) for each in found.gaps],
        took=words.span(time.milliseconds),
        rows=rows,
        count=count,
        ambiguous=ambiguous,
        ambiguous_count=ambiguous_count,
        none=_why_none(found) if not count + ambiguous_count else "",
        raw=[visible_json(line) for line in sorted(about, key=lambda line: decode(line).seq)],
    )


def utc(stamp: str | None) -> str:
    """A time in UTC, to the millisecond."""
    at = moment(stamp)
    return f"{at.isoformat(' ', 'milliseconds')[:23]} UTC" if at else visible(stamp or "")


def kind_of(how: Exit | None) -> str:
    """The style of a result."""
    if how is None or how == Exit():
        return "unknown"
    return "killed" if how.signal else "failed" if how.code else "ok"


def _facts(summary: Summary, records: list[Record]) -> list[Fact]:
    ended = ", ".join(part for part in (summary.outcome, words.result(summary.exit)) if part)
    request = " ".join(part for part in (summary.verb, summary.resource) if part)
    return [
        Fact("session", visible(summary.request_uid)),
        Fact("user", visible(summary.user or "unknown"), "" if summary.user else "weak"),
        Fact("groups", visible(", ".join(summary.groups))),
        *(Fact(f"extra {visible(name)}", visible(", ".join(values))) for name, values in summary.extra.items()),
        Fact("request", visible(request)),
        Fact("command", join(summary.command or [])),
        Fact("tty", "" if summary.tty is None else "yes" if summary.tty else "no"),
        Fact("container", words.target(summary)),
        Fact("image", visible(summary.image or "")),
        Fact("node", visible(summary.node or "")),
        Fact("started", utc(summary.start_time)),
        Fact("ended", utc(summary.end_time)),
        Fact("duration", words.span(summary.duration_ms)),
        Fact("outcome", visible(ended) or words.NO_END, kind_of(summary.exit)),
        Fact("state", visible(summary.state or ""), "alarm" if summary.state == "forged" else ""),
        Fact("processes", words.processes(summary.processes, processes_in(genuine(records)))),
        Fact("forged", words.claims(claims(records)), "alarm"),
        Fact("lost", words.losses(summary.lost), "alarm"),
        Fact("weak", visible(", ".join(summary.weak)), "weak"),
        Fact("reason", words.reason(summary)),
        Fact("pod UID", visible(summary.pod_uid or "")),
        Fact("cluster UID", visible(summary.cluster_uid or "")),
    ]


def _why_none(found: Found) -> str:
    return "Its trail could not be read." if found.unread else "No process was recorded."


def _gap(gap: Record) -> str:
    since = f"from {utc(gap.since)} to " if gap.since else ""
    return f"{since}{utc(gap.timestamp)}: {words.loss(gap)}"


class _Time:
    """The session's time, to which bars are drawn."""

    def __init__(self, summary: Summary, records: list[Record]) -> None:
        known = [stamp for record in records if (stamp := moment(record.timestamp))]
        self.begin = moment(summary.start_time) or min(known, default=None)
        self._end = max(known, default=None)

    @property
    def milliseconds(self) -> int | None:
        """How long it is."""
        return round((self._end - self.begin).total_seconds() * 1000) if self.begin and self._end else None

    def since(self, stamp: str) -> str:
        """From the beginning up to then."""
        at = moment(stamp)
        return f"{(at - self.begin).total_seconds():+.3f} s" if at and self.begin else ""

    def bar(self, records: list[Record]) -> tuple[float, float]:
        """Left end and width of a process's bar, in percent; up to the end where its exit is not recorded."""
        left = self._percent(moment(records[0].timestamp))
        exits = [record.timestamp for record in records if record.kind == "exit"]
        right = self._percent(moment(exits[-1])) if exits else 100.0
        left = min(left, 100.0 - _NARROWEST)
        return round(left, 2), round(max(right - left, _NARROWEST), 2)

    def _percent(self, at: datetime | None) -> float:
        if at is None or not self.milliseconds or self.begin is None:
            return 0.0
        return min(max((at - self.begin).total_seconds() * 1e5 / self.milliseconds, 0.0), 100.0)


def _rows(records: list[Record], lines: list[bytes], time: _Time) -> tuple[Iterator[Row], int]:
    """The rows of the processes that records are about, with their lines, and how many they are."""
    of: dict[str, list[tuple[Record, bytes]]] = defaultdict(list)
    about_sessions: list[Record] = []
    for record, line in zip(records, lines, strict=True):
        if record.kind == "session":
            about_sessions.append(record)
        elif record.kind in ABOUT_PROCESSES:
            key = key_of(record)
            of[key].append((replace(record, process_key=key), line))
    for found in of.values():
        found.sort(key=lambda each: each[0].seq)
    placed = list(walk(build([*about_sessions, *(record for found in of.values() for record, _ in found)])))
    below = _below([depth for depth, _ in placed])
    made = (
        _row(depth, process, deeper, of[process.process_key or ""], time)
        for (depth, process), deeper in zip(placed, below, strict=True)
    )
    return made, len(placed)


def _below(depths: list[int]) -> list[int]:
    """Of each row, how many that follow it are deeper, up to one that is not."""
    counts = [0] * len(depths)
    open_rows: list[int] = []
    for index, depth in enumerate([*depths, -1]):
        while open_rows and depths[open_rows[-1]] >= depth:
            ended = open_rows.pop()
            counts[ended] = index - ended - 1
        open_rows.append(index)
    return counts


def _row(depth: int, process: Process, below: int, own: list[tuple[Record, bytes]], time: _Time) -> Row:
    left, width = time.bar([record for record, _ in own])
    return Row(
        depth=depth,
        lines=list(_lines(process, time, time.since(own[0][0].timestamp))),
        pid="" if process.pid is None else str(process.pid),
        result=words.result(process.exit) or words.NO_EXIT,
        kind=kind_of(process.exit),
        took=words.span(process.duration_ms),
        left=left,
        width=width,
        marks=[mark for mark in _marks(process, depth) if mark.value],
        below=below,
        raw=[visible_json(line) for _, line in own],
    )


def _lines(process: Process, time: _Time, at: str) -> Iterator[Line]:
    """Every program in its order, those that it failed to run among them; one that ran none was first seen `at`."""
    if all(run.errno for run in process.runs):
        yield Line(words.unnamed(process), at)
    for run in process.runs:
        notes = (words.CUT if "argv" in run.truncated else "", words.BY_ENV if run.tag else "")
        note = ", ".join(filter(None, notes))
        yield Line(words.command(run), time.since(run.timestamp), visible(run.errno or ""), note)


def _marks(process: Process, depth: int) -> list[Fact]:
    cut = [name for name in process.truncated if name not in ("argv", "cmdLine")]
    return [
        Fact("level", str(depth) if depth > DEEPEST else ""),
        Fact("origin", "untracked" if process.origin == "untracked" else "", "alarm"),
        Fact("forged", visible(process.reason or "") if process.state == "forged" else "", "alarm"),
        Fact("state", "forged" if process.state == "forged" and not process.reason else "", "alarm"),
        Fact("state", process.state if process.state == "unconfirmed" else "", "weak"),
        Fact("called", visible(", ".join(process.calls))),
        Fact("weak", visible(", ".join(process.weak)), "weak"),
        Fact("cut", visible(", ".join(cut)), "weak"),
        Fact("of one of", visible(", ".join(process.candidates)), "weak"),
    ]


def _session_kind(summary: Summary) -> str:
    return "alarm" if summary.state == "forged" else kind_of(summary.exit)
