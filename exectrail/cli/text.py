"""How times, durations and results read."""

import json
import re
import sys
import time

import msgspec

from exectrail.contracts.record import Exit
from exectrail.reading.shell import visible
from exectrail.reading.summary import Summary, moment

_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z", re.ASCII).fullmatch


def print_json(document: object) -> None:
    """One JSON document. All in ASCII, so that no terminal obeys what stands in it."""
    print(json.dumps(msgspec.to_builtins(document), indent=2))


def complain(message: object) -> None:
    """A line for the user on standard error."""
    print(f"exectrail: {message}", file=sys.stderr)


class Clock:
    """How times are shown: to the second, in local time with its offset, or in UTC.

    Args:
        utc: Whether in UTC; so it is as well where that is the local time.

    """

    def __init__(self, *, utc: bool) -> None:
        self.utc = utc or time.localtime().tm_zone == "UTC"

    @property
    def header(self) -> str:
        """Over a column of times."""
        return "TIME (UTC)" if self.utc else "TIME"

    def when(self, stamp: str | None) -> str:
        """A time of a record."""
        if self.utc and stamp and _UTC(stamp):
            return f"{stamp[:10]} {stamp[11:19]}"
        at = moment(stamp)
        if at is None:
            return visible(stamp or "")
        return at.strftime("%Y-%m-%d %H:%M:%S") if self.utc else at.astimezone().isoformat(" ", "seconds")

    def named(self, stamp: str | None) -> str:
        """The same with the zone, for a place without a header."""
        return f"{self.when(stamp)} UTC" if self.utc and stamp else self.when(stamp)


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


def result_style(how: Exit | None) -> str:
    """Green for success, red for a signal, yellow for any other exit code."""
    if how is None:
        return "dim"
    return "red" if how.signal else "yellow" if how.code else "green"


def target(summary: Summary) -> str:
    """namespace/pod/container, as far as known."""
    return visible("/".join(part for part in (summary.namespace, summary.pod, summary.container) if part))


def outcome(summary: Summary) -> str:
    """How a session ended, or that nothing says it did; first of all, that its UID is not its own."""
    ended = result(summary.exit) or summary.outcome or "no end recorded"
    return f"forged, {ended}" if summary.state == "forged" else ended


def outcome_style(summary: Summary) -> str:
    """The colour of that."""
    return "bold red" if summary.state == "forged" else result_style(summary.exit)
