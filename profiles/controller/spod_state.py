"""The state of `spod`, of the DaemonSets of the release: in the Security Profiles Operator's words.

Pure. Its operator says `Running` when all pods of its DaemonSet are ready, and so is it here, of all DaemonSets.
"""

from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple

from msgspec import Struct

from profiles.controller.objects import Meta

State = Literal["Creating", "Updating", "Running", "Error"]


class DaemonSetStatus(Struct, frozen=True, rename="camel"):
    """What the cluster says of a DaemonSet's pods."""

    observed_generation: int = 0
    desired_number_scheduled: int = 0
    updated_number_scheduled: int = 0
    number_ready: int = 0


class DaemonSet(Struct, frozen=True):
    """apps/v1 DaemonSet."""

    metadata: Meta
    status: DaemonSetStatus = DaemonSetStatus()


class Running(NamedTuple):
    """How far the release runs."""

    state: State
    message: str
    """What it waits for; empty where it runs."""


def state(names: Collection[str], found: Mapping[str, DaemonSet], before: str) -> Running:
    """How far the release runs.

    Args:
        names: The DaemonSets that it has.
        found: Those that there are, by name.
        before: The state until now.

    """
    missing = [name for name in names if name not in found]
    if missing:
        text = " and ".join(missing)
        return Running("Error", f"DaemonSet {text} is missing: `helm upgrade` makes it anew")
    behind = {name: found[name] for name in names if not _is_ready(found[name])}
    if not behind:
        return Running("Running", "")
    message = "; ".join(
        f"DaemonSet {name}: {each.status.number_ready} of {each.status.desired_number_scheduled} pods are ready"
        for name, each in behind.items()
    )
    if before in {"", "Pending", "Creating"}:
        return Running("Creating", message)
    # Pods that have the version that is wanted, but are not ready although they were, and have no fellow that is.
    failed = any(_is_current(each) and not each.status.number_ready for each in behind.values())
    return Running("Error" if failed and before != "Updating" else "Updating", message)


def _is_current(daemonset: DaemonSet) -> bool:
    status = daemonset.status
    return (
        status.observed_generation >= daemonset.metadata.generation
        and status.updated_number_scheduled >= status.desired_number_scheduled
    )


def _is_ready(daemonset: DaemonSet) -> bool:
    return _is_current(daemonset) and daemonset.status.number_ready >= daemonset.status.desired_number_scheduled
