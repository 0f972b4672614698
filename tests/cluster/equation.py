"""The loss accounting of `enricher.tally`, as metrics show it: every event is accounted for."""

from collections import defaultdict
from collections.abc import Iterable

from prometheus_client.samples import Sample

_PREFIX = "exectrail_enricher_"
CAME, WENT = ("read", "made"), ("written", "merged", "filtered", "suppressed", "lost", "held")


def sums(samples: Iterable[Sample]) -> dict[str, float]:
    """How many events each stage has; of the losses those that were read."""
    found: defaultdict[str, float] = defaultdict(float)
    for each in samples:
        stage = each.name.removeprefix(_PREFIX).removesuffix("_total")
        if stage in CAME + WENT and each.labels.get("stage") != "source":
            found[stage] += each.value
    return {stage: found[stage] for stage in CAME + WENT}


def missing(found: dict[str, float]) -> float:
    """What the equation misses, by the sums of all stages: 0."""
    return sum(found[stage] for stage in CAME) - sum(found[stage] for stage in WENT)
