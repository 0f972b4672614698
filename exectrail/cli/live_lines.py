"""A record as one line for people."""

from exectrail.cli import text
from exectrail.cli.wrapping import Part, painted
from exectrail.contracts.record import Record
from exectrail.reading import words
from exectrail.reading.shell import join, visible


def line(record: Record, clock: text.Clock, *, coloured: bool) -> str:
    """When, where, who, and what."""
    place = record.resource
    where = words.names(place) if place else f"node {record.node.name}"
    alarm = record.origin == "untracked" or record.state == "forged"
    who = "forged" if record.state == "forged" else record.user or record.origin or ""
    parts: list[Part] = [
        (clock.when(record.timestamp), "dim"),
        (visible(where), ""),
        (visible(who), "bold red" if alarm else ""),
        *_what(record),
    ]
    shown = [part for part in parts if part[0]]
    spaced = [shown[0], *(each for part in shown[1:] for each in (("  ", ""), part))]
    return painted(spaced, coloured=coloured)


def _what(record: Record) -> list[Part]:
    match record.kind:
        case "session":
            return _session(record)
        case "exec" | "syscall":
            return _program(record)
        case "exit":
            how = (words.result(record.exit), text.result_style(record.exit))
            return [("exit", "dim"), (f"pid {record.pid}", ""), how]
        case "gap":
            lost = ", ".join(f"{count} {visible(cause)}" for cause, count in (record.lost or {}).items())
            what = (lost or "something may be missing", "bold red")
            return [("gap", "bold red"), what, (visible(record.reason or ""), "")]
    return [(record.kind, "dim"), ("" if record.pid is None else f"pid {record.pid}", "")]


def _session(record: Record) -> list[Part]:
    uid = (visible(record.request_uid or ""), "")
    if record.phase == "end":
        how = (words.result(record.exit) or record.outcome or "", text.result_style(record.exit))
        return [("session ended", "bold"), how, (words.span(record.duration_ms), ""), uid]
    request = record.request
    asked = [visible(request.verb), join(request.command or [])] if request else []
    said = "session started" if record.phase else f"session claimed ({visible(record.reason or 'forged')})"
    return [(said, "bold"), *((word, "") for word in asked), uid]


def _program(record: Record) -> list[Part]:
    command = visible(record.cmd_line or record.program or record.executable or "?")
    if record.argv:
        command = join(record.argv)
    if record.kind == "syscall":
        return [("called " + visible(", ".join(record.syscalls or [])), ""), (command, "")]
    failed = (f"failed: {visible(record.errno)}", "yellow") if record.errno else ("", "")
    return [("exec", "dim"), (command, "bold"), failed]
