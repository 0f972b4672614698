"""Whether the clocks of the nodes and of the API server agree.

A NodeTrail has both: the heartbeat by the node's clock, and, among its managed fields, when the API server took it.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from exectrail.doctor.finding import Checked, Finding
from exectrail.doctor.objects import Trail
from exectrail.doctor.seen import Seen
from exectrail.doctor.words import age, moment, stamp
from exectrail.reading.words import counted

_AHEAD = timedelta(seconds=5)
_BEHIND = timedelta(seconds=20)
"""A report may wait ten seconds and a call's time for the API server: only more shows that a clock is slow."""

_LOOKING = timedelta(seconds=10)
"""How long after `now` the last NodeTrail may have been read."""


def check(seen: Seen) -> Checked:
    """Each node's clock against the API server's."""
    compared = [(trail, said) for trail in seen.trails_of_nodes if (said := _both(trail, seen.now))]
    found = [words for trail, (by_node, by_server) in compared if (words := _apart(trail, by_node, by_server))]
    return Checked(
        "clocks", f"the clock of {counted(len(compared), 'node')} compared with the API server's", list(_finding(found))
    )


def _both(trail: Trail, now: datetime) -> tuple[datetime, datetime] | None:
    """The heartbeat by the node's clock and by the API server's, in whole seconds.

    Not every API server says when it took a report. Then this is only known to be before now: a slow clock looks
    like a report that is old.
    """
    beat = moment(trail.status.heartbeat)
    written = [moment(each.time) for each in trail.metadata.managed_fields if _has_heartbeat(each.fields)]
    times = [each for each in written if each]
    if beat is None:
        return None
    return beat, max(times) if times else min(beat, now + _LOOKING)


def _has_heartbeat(fields: dict[str, object]) -> bool:
    status = fields.get("f:status")
    return isinstance(status, dict) and "f:heartbeat" in status


def _apart(trail: Trail, by_node: datetime, by_server: datetime) -> str:
    ahead = by_node - by_server
    if -_BEHIND <= ahead <= _AHEAD:
        return ""
    how = "ahead" if ahead > timedelta() else "behind"
    return (
        f"node {trail.metadata.name}: NodeTrail status.heartbeat={trail.status.heartbeat}, which the API server took by"
        f" {stamp(by_server)}: {age(ahead)} {how}"
    )


def _finding(found: list[str]) -> Iterator[Finding]:
    if found:
        yield Finding(
            "clocks",
            "clock-apart",
            "warning",
            f"the clock of {counted(len(found), 'node')} differs from the API server's",
            found,
            "a process is found by the time of its request: beyond 30 seconds it has no user, or counts as `forged`",
            "synchronise the clocks (chrony, systemd-timesyncd) of nodes and control plane",
        )
