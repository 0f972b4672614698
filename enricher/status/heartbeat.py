"""How often a node reports: the less often the more nodes there are, and not all at once.

Each report is a write to etcd, and goes to each replica of the webhook.
"""

import random

from exectrail.contracts.nodetrail import LONGEST_HEARTBEAT

_PER_SECOND = 50
"""Reports of the whole cluster."""
_JITTER = 0.1


def interval(shortest: float, nodes: int) -> float:
    """Seconds between two reports, on average; `shortest` in a cluster of few nodes."""
    return max(shortest, min(nodes / _PER_SECOND, LONGEST_HEARTBEAT))


def jittered(seconds: float) -> float:
    """An interval a little shorter or longer: nodes that began together drift apart."""
    return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - spreads load
