"""Which sessions are of interest: what the options `--user`, `--pod`, `--since` and the like choose."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from exectrail.contracts.record import Origin, Record
from exectrail.reading.summary import Summary, moment

Pattern = re.Pattern[str]


def pattern(text: str) -> Pattern:
    """What a name must be, with `*` for anything."""
    return re.compile(".*".join(map(re.escape, text.split("*"))), re.DOTALL)


@dataclass(frozen=True)
class Choice:
    """What must be true of a session. Of several values of one option, one; empty: any."""

    user: tuple[Pattern, ...] = ()
    namespace: tuple[Pattern, ...] = ()
    pod: tuple[Pattern, ...] = ()
    container: tuple[Pattern, ...] = ()
    node: tuple[Pattern, ...] = ()
    verb: tuple[str, ...] = ()
    outcome: tuple[str, ...] = ()
    origin: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None

    def keeps(self, summary: Summary) -> bool:
        """Whether a session is of interest. One whose start is unknown cannot be ruled out by time."""
        return (
            _any(self.user, summary.user)
            and _any(self.namespace, summary.namespace)
            and _any(self.pod, summary.pod)
            and _any(self.container, summary.container)
            and _any(self.node, summary.node)
            and (not self.verb or summary.verb in self.verb)
            and (not self.outcome or not outcomes(summary).isdisjoint(self.outcome))
            and self.in_time(summary.start_time)
        )

    def keeps_record(self, record: Record) -> bool:
        """Whether a record is of interest; options about a whole session do not count."""
        return self.keeps_target(record) and self.in_time(record.timestamp)

    def keeps_target(self, record: Record) -> bool:
        """The same at any time."""
        return self.keeps_owner(record.user, record.origin) and self.keeps_place(record)

    def keeps_owner(self, user: str | None, origin: Origin | None) -> bool:
        """Whether what is of this user, and of this origin, is of interest."""
        return _any(self.user, user) and (not self.origin or origin in self.origin)

    def keeps_place(self, record: Record) -> bool:
        """Whether a record is from where it is of interest, of any user and origin."""
        place = record.resource
        return (
            _any(self.namespace, place.namespace if place else None)
            and _any(self.pod, place.pod if place else None)
            and _any(self.container, place.container if place else None)
            and _any(self.node, record.node.name)
        )

    def in_time(self, time: str | None) -> bool:
        """Whether a point in time is in the span that is asked for."""
        if self.since is None and self.until is None:
            return True
        at = moment(time)
        return at is None or ((self.since is None or at >= self.since) and (self.until is None or at < self.until))


def outcomes(summary: Summary) -> set[str]:
    """What `--outcome` may say of a session: its outcome, or `open`; `failed` for any result but exit code 0."""
    found: set[str] = {summary.outcome or "open"}
    if summary.exit and (summary.exit.signal or summary.exit.code):
        found.add("failed")
    return found


def _any(patterns: Iterable[Pattern], value: str | None) -> bool:
    return not patterns or any(each.fullmatch(value or "") for each in patterns)
