"""A session as a tree: the request, and below it each process."""

from collections.abc import Callable, Iterable
from functools import partial

from rich.console import Group
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from exectrail.cli import terminal, text
from exectrail.reading.finding import Found
from exectrail.reading.process_tree import Exec, Process, build, walk
from exectrail.reading.shell import join, visible
from exectrail.reading.summary import Summary

_ALARM = "bold red"


def show(found: Found, clock: text.Clock) -> None:
    """Print the session to standard output."""
    terminal.show(render(found, clock))


def render(found: Found, clock: text.Clock) -> Group:
    """The header and the process tree."""
    roots = build(found.records)
    processes = list(walk(roots))
    tree = Tree(
        Text(f"{_or(found.summary.user)} {_or(found.summary.verb)} {text.target(found.summary)}".rstrip(), "bold")
    )
    _hang(tree, processes, _label)
    if found.ambiguous:
        _hang(
            tree.add(Text("started by this request or by another", "yellow")),
            walk(build(found.ambiguous)),
            partial(_label_of_two, own=found.summary.request_uid),
        )
    elif not processes:
        tree.add(
            Text("its trail could not be read", _ALARM) if found.unread else Text("no process was recorded", "dim")
        )
    return Group(_header(found.summary, len(processes), clock), Text(), tree)


def _hang(tree: Tree, processes: Iterable[tuple[int, Process]], label: Callable[[Process], Text]) -> None:
    path = [tree]
    for depth, process in processes:
        del path[depth + 1 :]
        path.append(path[depth].add(label(process)))


def _header(summary: Summary, seen: int, clock: text.Clock) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _facts(summary, seen, clock):
        if value:
            table.add_row(name, value if isinstance(value, Text) else Text(value))
    return table


def _facts(summary: Summary, seen: int, clock: text.Clock) -> list[tuple[str, str | Text]]:
    ended = ", ".join(part for part in (summary.outcome, text.result(summary.exit)) if part)
    alarm = _ALARM if summary.state == "forged" else ""
    return [
        ("session", visible(summary.request_uid)),
        ("user", visible(summary.user or "unknown")),
        ("groups", visible(", ".join(summary.groups))),
        ("when", clock.named(summary.start_time)),
        ("verb", visible(summary.verb or "")),
        ("command", join(summary.command or [])),
        ("tty", "" if summary.tty is None else "yes" if summary.tty else "no"),
        ("container", text.target(summary)),
        ("image", visible(summary.image or "")),
        ("node", visible(summary.node or "")),
        ("state", Text(summary.state or "", alarm)),
        ("outcome", Text(ended or "no end recorded", text.result_style(summary.exit))),
        ("duration", text.span(summary.duration_ms)),
        ("processes", _count(summary.processes, seen)),
        ("lost", Text(", ".join(f"{count} {visible(cause)}" for cause, count in summary.lost.items()), _ALARM)),
        ("weak", visible(", ".join(summary.weak))),
        ("reason", visible(summary.reason or "")),
    ]


def _count(recorded: int | None, seen: int) -> str:
    return f"{recorded}, of which {seen} are in what was read" if recorded not in (None, seen) else str(seen)


def _label(process: Process) -> Text:
    label = Text(overflow="fold")
    programs = process.programs
    for run in programs[:-1]:
        label.append(f"{visible(run.name) or '?'} → ", "dim")
    last = programs[-1] if programs else None
    label.append(*_command(process, last))
    if "argv" in process.truncated:
        label.append(" …", "dim")
    for part, style in _facts_of(process, last):
        if part:
            label.append(f"  {part}", style)
    return label


def _label_of_two(process: Process, own: str) -> Text:
    others = [visible(uid) for uid in process.candidates if uid != own]
    return _label(process).append(f"  or of {', '.join(others)}", "yellow")


def _command(process: Process, last: Exec | None) -> tuple[str, str]:
    if last and last.words:
        return join(last.words), "bold"
    if last:
        return visible(last.cmd_line or last.program or "?"), "bold"
    if process.cloned is not None:
        return f"{visible(process.fork_of)} (fork)" if process.fork_of else "(fork)", ""
    return "?", ""


def _facts_of(process: Process, last: Exec | None) -> list[tuple[str, str]]:
    """What follows a process's command, and in which style."""
    failed = [f"{join(run.argv or [run.program or '?'])}: {run.errno}" for run in process.execs if run.errno]
    other = [
        name for name in process.syscalls if name not in ("execve", "execveat", "clone", "clone3", "fork", "vfork")
    ]
    alarms = [mark for mark in (process.origin, process.state) if mark in ("untracked", "forged")]
    return [
        ("" if process.pid is None else f"pid {process.pid}", "dim"),
        (text.result(process.exit) or "no exit recorded", text.result_style(process.exit)),
        (text.span(process.duration_ms), "dim"),
        ("by env, no exec of its own" if last and last.tag else "", "dim"),
        (visible("failed " + "; failed ".join(failed)) if failed else "", "yellow"),
        (visible("called " + ", ".join(other)) if other else "", ""),
        (" ".join(alarms), _ALARM),
        ("unconfirmed" if process.state == "unconfirmed" else "", "yellow"),
        (visible("weak: " + ", ".join(process.weak)) if process.weak else "", "yellow"),
    ]


def _or(value: str | None) -> str:
    return visible(value or "unknown")
