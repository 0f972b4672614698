"""When requests may have passed unrecorded, known afterwards: a list that outlives controllers and upgrades.

It is kept in a ConfigMap: `outages` has a line of JSON for each, `reached` is the last time that all was well. An
outage begins at that time, because nothing is certain of what came after it.
"""

from datetime import datetime, timedelta
from typing import Literal

import msgspec
from msgspec import Struct

from exectrail.contracts.unreadable import UNREADABLE
from profiles.controller.canary import Reason as NotReachedReason

MOST = 100
"""Outages to keep; the oldest go first."""
UNWATCHED = timedelta(seconds=150)
"""Without a look for so long, it is not known: the controller was away, or the API server was."""
_MESSAGE_CHARACTERS = 240

Reason = NotReachedReason | Literal["configuration", "not-watched"]


class Failure(Struct, frozen=True):
    """What a look found wrong."""

    reason: Reason
    message: str


class Outage(Struct, frozen=True, omit_defaults=True, rename={"since": "from"}):
    """A time in which requests may have passed unrecorded."""

    since: str
    """RFC 3339, UTC: when the webhook was last known to be reached."""
    reason: Reason
    """What the first look found, and `message` in words."""
    message: str
    until: str = ""
    """When it was again; empty while it is not."""


class History(Struct, frozen=True):
    """What is known of all looks until now, the oldest first."""

    outages: list[Outage] = []
    reached: str = ""
    """RFC 3339, UTC: when all was last well; empty before the first time."""

    @property
    def open(self) -> Outage | None:
        """The outage that goes on."""
        return self.outages[-1] if self.outages and not self.outages[-1].until else None

    def looked(self, now: datetime, failure: Failure | None) -> "History":
        """What is known after one more look."""
        time = now.isoformat(timespec="seconds").replace("+00:00", "Z")
        outages = [*self.outages]
        before = self.open
        goes_on = before and failure and _alike(before, failure)
        if before and not goes_on:
            outages[-1] = msgspec.structs.replace(before, until=time)
        if before is None and (unwatched := self._unwatched(now, time)):
            outages.append(unwatched)
        if failure and not goes_on:
            since = time if before or len(outages) > len(self.outages) else self.reached or time
            outages.append(Outage(since, failure.reason, failure.message[:_MESSAGE_CHARACTERS]))
        return History(outages[-MOST:], self.reached if failure else time)

    def _unwatched(self, now: datetime, time: str) -> Outage | None:
        if not self.reached or now - datetime.fromisoformat(self.reached) <= UNWATCHED:
            return None
        return Outage(self.reached, "not-watched", "no controller could ask the API server", until=time)


def _alike(outage: Outage, failure: Failure) -> bool:
    """Whether it is one outage: the API server says of the same one now this and now that."""
    return (outage.reason == "configuration") == (failure.reason == "configuration")


def read(data: dict[str, str]) -> History:
    """The history in a ConfigMap's data. Lines that cannot be read are left out: they must not end the watch."""
    outages = []
    for line in data.get("outages", "").splitlines():
        try:
            outages.append(msgspec.json.decode(line, type=Outage))
        except UNREADABLE:
            continue
    return History(outages, _time(data.get("reached", "")))


def written(history: History) -> dict[str, str]:
    """The ConfigMap's data of a history."""
    lines = (msgspec.json.encode(each).decode() for each in history.outages)
    return {"outages": "".join(f"{line}\n" for line in lines), "reached": history.reached}


def _time(text: str) -> str:
    try:
        return text if datetime.fromisoformat(text).tzinfo else ""
    except ValueError:
        return ""
