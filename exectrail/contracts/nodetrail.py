"""The NodeTrail: a node's own word on how well it records. One per node, named like it, written by its enricher."""

from datetime import timedelta
from typing import Literal

from msgspec import Struct

from exectrail.contracts.meta import ObjectMeta

GROUP_VERSION = "exectrail.io/v1alpha1"
KIND = "NodeTrail"
PLURAL = "nodetrails"

MOST_ENV = 1024
"""The most containers in `NodeTrailStatus.env`: the API server refuses more. Those left out count as unknown."""


MOST_REASON = 512
"""The longest `NodeTrailStatus.audit_source_reason`, in characters."""

MOST_DETAIL = 512
"""The longest `UncoveredPod.detail`, in characters."""

MOST_UNCOVERED = 512
"""The most pods in `NodeTrailStatus.uncovered`; `uncovered_pods` counts all."""


HEARTBEAT = 30
"""Seconds between two reports of a node, in a cluster of few."""
LONGEST_HEARTBEAT = 300
"""The same in a very large one. A node that says more is taken to mean this."""
_HEARTBEATS_TO_MISS = 4


class UncoveredPod(Struct, frozen=True, omit_defaults=True):
    """A pod that is to be recorded and cannot be."""

    pod: str
    """`namespace/pod`."""
    reason: Literal["sandboxed", "runtime-unknown", "cgroup-unknown"]
    """Its runtime has a kernel of its own, or it is not known whether it has; or its processes were not found."""
    runtime: str
    """The handler of its RuntimeClass; with `cgroup-unknown`, the runtime as the kubelet names it."""
    detail: str = ""
    """What was found and what was expected, where that is to be said."""


class NodeTrailStatus(Struct, frozen=True, rename="camel"):
    """What is in use, what is weak, what was lost, and when this was last true."""

    audit_source: str = ""
    """The name of the audit source in use, or `none`."""
    audit_source_reason: str = ""
    """Why this one is in use."""
    sensor: str = ""
    """The name of the sensor in use."""
    weak: list[str] = []
    """Fields that this node cannot guarantee."""
    lost: int = 0
    """Events since this agent started, of all causes."""
    lost_by_cause: dict[str, int] = {}
    seq: int = -1
    """The last record written; -1 before the first."""
    lag_ms: int = 0
    since: str = ""
    """When this agent started: RFC 3339, UTC. What happened before it was not seen by it."""
    heartbeat: str = ""
    """RFC 3339, UTC. A NodeTrail that is older than `fresh_for` is not fresh: it is not known what its node does."""
    heartbeat_seconds: int = HEARTBEAT
    """How often its node reports."""
    env: dict[str, bool] = {}
    """Containers of opted-in namespaces by `namespace/pod/container`: whether a program `env` was found in them."""
    uncovered: list[UncoveredPod] = []
    """Pods that are to be recorded and cannot be."""
    uncovered_pods: int = 0
    """How many those are, also where the list is cut."""

    @property
    def fresh_for(self) -> timedelta:
        """How old it may be: two minutes in a cluster of few nodes."""
        return timedelta(seconds=_HEARTBEATS_TO_MISS * min(max(self.heartbeat_seconds, HEARTBEAT), LONGEST_HEARTBEAT))


class NodeTrail(Struct, frozen=True, rename={"api_version": "apiVersion"}):
    """How well a node records."""

    metadata: ObjectMeta
    status: NodeTrailStatus = NodeTrailStatus()
    api_version: str = GROUP_VERSION
    kind: str = KIND
