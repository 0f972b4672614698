"""A session as a tree: the request, below it each process, and of each process every program that it ran.

A program that another one replaced (execve keeps the process) is as much of what was done as the last one, so each has
a line of its own with all its arguments.
"""

from collections.abc import Callable, Iterator
from functools import partial

from exectrail.cli import terminal, text
from exectrail.cli.wrapping import Part, filled, painted, wrapped
from exectrail.contracts.record import Record
from exectrail.reading import words
from exectrail.reading.finding import Found
from exectrail.reading.process_tree import Exec, Node, Process, build, processes_in
from exectrail.reading.shell import join, visible
from exectrail.reading.summary import Summary, claims, genuine

_ALARM = "bold red"
_NAME = 11
"""Columns of the names in the header."""
_DEEPEST = 120
"""Columns of guides; a process further down stands there, and says how deep it is."""

_Line = list[Part]
_Lines = Callable[[Process], list[_Line]]


def show(found: Found, clock: text.Clock, width: int | None) -> None:
    """Print the session to standard output, wrapped to a width if one is given."""
    coloured = terminal.coloured()
    for line in lines(found, clock, width):
        print(painted(line, coloured=coloured))


def lines(found: Found, clock: text.Clock, width: int | None) -> Iterator[_Line]:
    """The header and the process tree."""
    records = found.records
    roots = build(records)
    for name, parts in _facts(found.summary, records, clock):
        if any(part for part, _ in parts):
            yield from _hung([(f"{name:{_NAME}}", "bold")], [(" " * _NAME, "")], parts, width)
    yield []
    yield from filled([(part, "bold") for part in words.headed(found.summary)], width, " ")
    maybe = build(found.ambiguous)
    yield from _tree(roots, _described, width, more=bool(maybe))
    if maybe:
        yield from wrapped([("└── ", "dim"), (words.BY_TWO, "yellow")], width)
        describe = partial(_described_of_two, own=found.summary.request_uid)
        yield from _tree(maybe, describe, width, indent="    ")
    elif not roots:
        said = ("its trail could not be read", _ALARM) if found.unread else ("no process was recorded", "dim")
        yield from wrapped([("└── ", "dim"), said], width)
    if found.gaps:
        yield []
    for gap in found.gaps:
        yield from _hung([(f"{'gap':{_NAME}}", "bold")], [(" " * _NAME, "")], _gap(gap, clock), width)


def _tree(
    roots: list[Node], describe: _Lines, width: int | None, indent: str = "", *, more: bool = False
) -> Iterator[_Line]:
    """The processes, parents before children. Without recursion: a chain of forks may be long."""
    stack = [(node, indent, not more and node is roots[-1], 0) for node in reversed(roots)]
    while stack:
        node, guides, last, depth = stack.pop()
        below = guides + ("    " if last else "│   ")
        corner = guides + ("└── " if last else "├── ")
        if len(guides) > (_DEEPEST if width is None else min(_DEEPEST, width // 2)):
            below, corner = guides, f"{guides}└({depth})── "
        for number, parts in enumerate(describe(node.process)):
            rail = [(below + ("│   " if node.children else "    "), "dim")]
            yield from _hung(rail if number else [(corner, "dim")], rail, parts, width)
        end = len(node.children) - 1
        stack += [(child, below, at == end, depth + 1) for at, child in reversed(list(enumerate(node.children)))]


def _hung(first: _Line, later: _Line, parts: _Line, width: int | None) -> Iterator[_Line]:
    """Text after a lead, wrapped, with another lead before what goes on."""
    taken = max(sum(terminal.cells(part) for part, _ in each) for each in (first, later))
    room = None if width is None else max(width - taken, 10)
    lead = first
    for line in wrapped(parts, room):
        yield [*lead, *line]
        lead = later


def _facts(summary: Summary, records: list[Record], clock: text.Clock) -> list[tuple[str, _Line]]:
    ended = ", ".join(part for part in (summary.outcome, words.result(summary.exit)) if part)
    return [
        ("session", _plain(summary.request_uid)),
        ("user", _plain(summary.user or "unknown")),
        ("groups", _plain(", ".join(summary.groups))),
        ("when", [(clock.named(summary.start_time), "")]),
        ("verb", _plain(summary.verb)),
        ("command", [(join(summary.command or []), "")]),
        ("tty", _plain("" if summary.tty is None else "yes" if summary.tty else "no")),
        ("container", [(words.target(summary), "")]),
        ("image", _plain(summary.image)),
        ("node", _plain(summary.node)),
        ("state", [(summary.state or "", _ALARM if summary.state == "forged" else "")]),
        ("outcome", [(ended or words.NO_END, text.result_style(summary.exit))]),
        ("duration", [(words.span(summary.duration_ms), "")]),
        ("processes", [(words.processes(summary.processes, processes_in(genuine(records))), "")]),
        ("forged", [(words.claims(claims(records)), _ALARM)]),
        ("lost", [(words.losses(summary.lost), _ALARM)]),
        ("weak", _plain(", ".join(summary.weak))),
        ("reason", [(words.reason(summary), "")]),
    ]


def _plain(value: str | None) -> _Line:
    return [(visible(value or ""), "")]


def _gap(gap: Record, clock: text.Clock) -> _Line:
    """What may be missing, since when and why."""
    since = f"from {clock.when(gap.since)} to " if gap.since else ""
    return [(f"{since}{clock.named(gap.timestamp)}: ", ""), (words.loss(gap), _ALARM)]


def _described(process: Process) -> list[_Line]:
    """The lines of a process: one for each program, and for each that it failed to run; results on the last."""
    runs = process.runs
    found = [_program(run, first=number == 0) for number, run in enumerate(runs)]
    if not any(run.errno is None for run in runs):
        found.insert(0, [(words.unnamed(process), "")])
        if runs:
            found[1] = [("→ ", "dim"), *found[1]]
    if process.pid is not None:
        found[0].append((f"  pid {process.pid}", "dim"))
    found[-1] += [(f"  {part}", style) for part, style in _results(process) if part]
    return found


def _described_of_two(process: Process, own: str) -> list[_Line]:
    found = _described(process)
    others = [visible(uid) for uid in process.candidates if uid != own]
    found[-1].append((f"  other {'candidate' if len(others) == 1 else 'candidates'}: {', '.join(others)}", "yellow"))
    return found


def _program(run: Exec, *, first: bool) -> _Line:
    """A program and all its arguments, after an arrow where it replaced another one."""
    line = [("" if first else "→ ", "dim"), (words.command(run), "yellow" if run.errno else "bold")]
    if "argv" in run.truncated:
        line.append((f" … ({words.CUT})", "yellow"))
    if run.errno:
        line.append((f"  failed: {visible(run.errno)}", "yellow"))
    if run.tag:
        line.append((f"  {words.BY_ENV}", "dim"))
    return line


def _results(process: Process) -> list[Part]:
    """What follows a process's last program, and in which style."""
    cut = [name for name in process.truncated if name not in ("argv", "cmdLine")]
    alarms = ["untracked"] if process.origin == "untracked" else []
    return [
        (words.result(process.exit) or words.NO_EXIT, text.result_style(process.exit)),
        (words.span(process.duration_ms), "dim"),
        (visible("called " + ", ".join(process.calls)) if process.calls else "", ""),
        (" ".join(filter(None, [*alarms, words.forged(process)])), _ALARM),
        ("unconfirmed" if process.state == "unconfirmed" else "", "yellow"),
        (visible("weak: " + ", ".join(process.weak)) if process.weak else "", "yellow"),
        (visible("cut: " + ", ".join(cut)) if cut else "", "yellow"),
    ]
