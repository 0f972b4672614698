"""What is read of sessions and processes, in words: the same on a terminal and on a page."""

from exectrail.contracts.record import Exit, Record, Resource
from exectrail.reading.process_tree import Exec, Process
from exectrail.reading.shell import join, visible
from exectrail.reading.summary import LATE, Summary

NO_END = "no end recorded"
"""Of a session without an outcome."""
NO_EXIT = "no exit recorded"
"""Of a process without a result."""
CUT = "cut: more arguments than are kept"
"""Of a program."""
BY_ENV = "by env, no exec of its own"
"""Of a program that the tag's `env` ran within itself."""
BY_TWO = "started by this request or by another"
"""Over processes that another request may have started as well."""


def counted(number: int, what: str) -> str:
    """`1 node`, `2 nodes`."""
    return f"1 {what}" if number == 1 else f"{number} {what}s"


def span(milliseconds: int | None) -> str:
    """A duration, as coarse as a reader wants it: `7 ms`, `1.2 s`, `3 min 5 s`, `2 h 10 min`."""
    if milliseconds is None:
        return ""
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    seconds = milliseconds // 1000
    if seconds < 60:
        return f"{milliseconds / 1000:.1f} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds // 60 % 60} min"


def result(how: Exit | None) -> str:
    """`exit 3`, or `killed by SIGKILL`; empty if unknown."""
    if how is None or how == Exit():
        return ""
    return f"exit {how.code}" if how.signal is None else f"killed by {visible(how.signal)}"


def names(place: Resource) -> str:
    """namespace/pod/container as a record has them; a port-forward's has no container."""
    return "/".join(filter(None, (place.namespace, place.pod, place.container)))


def target(summary: Summary) -> str:
    """namespace/pod/container, as far as known."""
    return visible("/".join(part for part in (summary.namespace, summary.pod, summary.container) if part))


def heading(summary: Summary) -> str:
    """Who did what where."""
    return " ".join(headed(summary))


def headed(summary: Summary) -> list[str]:
    """User, verb and target."""
    user_and_verb = [visible(summary.user or "unknown"), visible(summary.verb or "unknown")]
    return [*user_and_verb, target(summary)] if target(summary) else user_and_verb


def outcome(summary: Summary) -> str:
    """How a session ended, or that nothing says it did; first of all, that its UID is not its own."""
    ended = result(summary.exit) or summary.outcome or NO_END
    return f"forged, {ended}" if summary.state == "forged" else ended


def reason(summary: Summary) -> str:
    """What is special about a session."""
    shown_late = " (the request showed only after its process had started)" if summary.reason == LATE else ""
    return visible(summary.reason or "") + shown_late


def command(run: Exec) -> str:
    """A program and all its arguments, as a shell would take them."""
    return join(run.words) if run.words else visible(run.cmd_line or run.program or "?")


def unnamed(process: Process) -> str:
    """A process that ran no program of its own."""
    if process.cloned is None:
        return "?"
    return f"{visible(process.fork_of)} (fork)" if process.fork_of else "(fork)"


def processes(recorded: int | None, seen: int) -> str:
    """How many processes a session had, and how many of them were read where that is another number."""
    return f"{recorded}, of which {seen} are in what was read" if recorded not in (None, seen) else str(seen)


def forged(process: Process) -> str:
    """That a process's UID is forged, and why where that is known; empty where it is not."""
    if process.state != "forged":
        return ""
    return f"forged: {visible(process.reason)}" if process.reason else "forged"


def claims(why: dict[str, str | None]) -> str:
    """How many processes only claim a session's UID, and why it is not theirs."""
    if not why:
        return ""
    reasons = ", ".join(visible(each) for each in dict.fromkeys(filter(None, why.values())))
    said = "1 process carries" if len(why) == 1 else f"{len(why)} processes carry"
    doubt = " (either of the two may have borrowed it)" if "uid-contested" in why.values() else ""
    return f"{said} this UID as well" + (f": {reasons}{doubt}" if reasons else "")


def losses(lost: dict[str, int]) -> str:
    """How many were lost, by cause."""
    return ", ".join(f"{count} {visible(cause)}" for cause, count in lost.items())


def loss(gap: Record) -> str:
    """What a gap says is missing, where and why."""
    where = " in its container" if gap.container_id else " on its node"
    at_most = f"at most {losses(gap.at_most)}" if gap.at_most else ""
    what = ", ".join(filter(None, (losses(gap.lost or {}), at_most))) or "something may be missing"
    why = f" ({visible(gap.reason)})" if gap.reason else ""
    return f"lost{where}: {what}{why}"
