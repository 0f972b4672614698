"""How times read and results look on a terminal."""

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
        """A time of a record; as it stands there if it is none, or none of the local calendar."""
        if self.utc and stamp and _UTC(stamp):
            return f"{stamp[:10]} {stamp[11:19]}"
        at = moment(stamp)
        if at is None:
            return visible(stamp or "")
        if self.utc:
            return at.strftime("%Y-%m-%d %H:%M:%S")
        try:
            return at.astimezone().isoformat(" ", "seconds")
        except (OverflowError, ValueError, OSError):  # the first and the last day of all; some platforms know fewer
            return visible(stamp or "")

    def named(self, stamp: str | None) -> str:
        """The same with the zone, for a place without a header."""
        return f"{self.when(stamp)} UTC" if self.utc and stamp else self.when(stamp)


def result_style(how: Exit | None) -> str:
    """Green for success, red for a signal, yellow for any other exit code."""
    if how is None:
        return "dim"
    return "red" if how.signal else "yellow" if how.code else "green"


def outcome_style(summary: Summary) -> str:
    """The colour of that."""
    return "bold red" if summary.state == "forged" else result_style(summary.exit)
