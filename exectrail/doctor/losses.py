"""What nodes have lost, and whether they keep up."""

from collections.abc import Iterator

from exectrail.contracts.nodetrail import NodeTrailStatus
from exectrail.doctor.finding import Checked, Finding
from exectrail.doctor.objects import Trail
from exectrail.doctor.seen import Seen
from exectrail.reading.words import counted

MOST_LAG_MS = 5_000
"""The default of `logs.holdMs` is a tenth of it."""


def check(seen: Seen) -> Checked:
    """What each NodeTrail says of losses and lag."""
    findings = [*_lost(seen.trails_of_nodes), *_lag(seen.trails_of_nodes)]
    return Checked("losses", f"losses and lag of {counted(len(seen.trails_of_nodes), 'node')} looked at", findings)


def _lost(trails: list[Trail]) -> Iterator[Finding]:
    found = [
        f"NodeTrail {trail.metadata.name}: status.lost={status.lost} ({_causes(status)}), since {status.since}"
        for trail in trails
        if (status := trail.status).lost
    ]
    if found:
        yield Finding(
            "losses",
            "lost",
            "warning",
            "events were lost before they could be recorded",
            found,
            "the trail lacks them, and has a `gap` record where they would be",
            "docs/tasks/troubleshooting.md, `What was lost?`, has what to do for each cause",
        )


def _causes(status: NodeTrailStatus) -> str:
    return ", ".join(f"{cause} {count}" for cause, count in sorted(status.lost_by_cause.items())) or "no cause"


def _lag(trails: list[Trail]) -> Iterator[Finding]:
    found = [
        f"NodeTrail {trail.metadata.name}: status.lagMs={trail.status.lag_ms}"
        for trail in trails
        if trail.status.lag_ms > MOST_LAG_MS
    ]
    if found:
        yield Finding(
            "losses",
            "lag",
            "warning",
            "records come late",
            found,
            "an event has waited for seconds for what completes it; what is too late is written with gaps marked",
            "give the enricher more CPU (enricher.resources), and see that logs.holdMs is not too long",
        )
