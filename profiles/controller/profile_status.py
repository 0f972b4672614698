"""What a SeccompProfile's status says, of what its nodes and pods say.

Pure: it sees the objects as they are, and decides what has to be written. The order of states is the Security Profiles
Operator's: the first of Error, Terminating, Partial, Disabled, Pending, InProgress and Installed that any node has.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Literal

from msgspec import Struct

from exectrail.contracts import spo
from exectrail.contracts.profile_state import AVAILABLE, MESSAGE_ANNOTATION, REASON_ANNOTATION
from exectrail.seccomp.syscall_names import NAMES
from exectrail.seccomp.withheld import withheld
from profiles.controller.objects import (
    KIND,
    STATES,
    Condition,
    Meta,
    NodeStatus,
    Profile,
    ProfileStatus,
)

MOST_WORKLOADS = 1000
"""Pods in `activeWorkloads`: an object of the API has room for some ten thousand names."""

IN_USE = "InUse"
"""The condition of a profile whose deletion waits for its pods, and the reason of the Event that says so."""

UNKNOWN_SYSCALLS = "UnknownSyscalls"
"""The condition of a profile that names system calls that no kernel has. It is installed all the same."""

_LEFT_OVER = ("-deleted", "spo.x-k8s.io/partial-profile-finalizer")
"""Ends of the Security Profiles Operator's finalizers, which nothing else would remove."""
_MOST_NAMES = 10
_MOST_SILENT = 3
"""Names of nodes of which nothing is heard: while a cluster starts, that is most of them."""
_MOST_MESSAGE = 1024
_READY = "Ready"
_REASONS = {
    "Error": "Unavailable",
    "Terminating": "Deleting",
    "Partial": "Unavailable",
    "Disabled": "Unavailable",
    "Pending": "Pending",
    "InProgress": "Creating",
    "Installed": "Available",
}
"""Of the condition `Ready`, by state."""


class Event(Struct, frozen=True):
    """An Event to be sent about the profile."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


class Decision(Struct, frozen=True):
    """What the profile should be like."""

    finalizers: list[str]
    labels: Mapping[str, str]
    """Those that it must have, beside others."""
    status: ProfileStatus
    events: list[Event]
    """What is new, and worth an Event."""

    def released(self, profile: Profile) -> bool:
        """Whether the profile goes with what is decided."""
        return profile.metadata.deletion_timestamp is not None and not self.finalizers


def decide(
    profile: Profile, statuses: Iterable[NodeStatus], nodes: Collection[str], users: Collection[str], now: datetime
) -> Decision:
    """Decide.

    Args:
        profile: As it is.
        statuses: What nodes say of it.
        nodes: Those on which the installer runs; of what others say, only that they have a file counts.
        users: The pods that name it, `namespace/name`.
        now: The time, UTC.

    """
    statuses = list(statuses)
    by_node = {each.spec.node_name: each for each in statuses if each.spec.node_name in nodes}
    state = _state(profile, by_node, nodes)
    conditions = [
        _ready(profile, state, by_node, nodes),
        _available(profile, by_node.values(), statuses),
        *_problems(profile, by_node),
        *_unknown(profile),
    ]
    if profile.metadata.deletion_timestamp and users:
        conditions.append(_condition(profile, IN_USE, "True", IN_USE, _held(users)))
    status = ProfileStatus(
        status=state,
        localhost_profile=spo.localhost_profile(profile.metadata.name),
        active_workloads=sorted(users)[:MOST_WORKLOADS],
        conditions=dated(conditions, profile.status.conditions, now),
    )
    return Decision(
        finalizers=_finalizers(profile.metadata, bool(users)),
        labels={spo.PROFILE_ID_LABEL: spo.profile_id(KIND, profile.metadata.name)},
        status=status,
        events=_events(profile.status.conditions, status.conditions),
    )


def _finalizers(meta: Meta, used: bool) -> list[str]:
    """As they should be. Others' stay, but for those that would never be removed."""
    kept = [each for each in meta.finalizers if each != spo.IN_USE_FINALIZER or used]
    if meta.deletion_timestamp:  # the API server accepts no new one
        return [each for each in kept if not each.endswith(_LEFT_OVER)]
    return [*kept, spo.IN_USE_FINALIZER] if used and spo.IN_USE_FINALIZER not in kept else kept


def _state(profile: Profile, by_node: Mapping[str, NodeStatus], nodes: Collection[str]) -> spo.State:
    if profile.metadata.deletion_timestamp:
        return "Terminating"
    found = {each.status.status for each in by_node.values()}
    # A node that joins says nothing yet. That takes nothing away from the others: bindings must not stop meanwhile.
    if len(by_node) < len(nodes) and not (by_node and _was_complete(profile)):
        found.add("Pending")
    return next((state for state in STATES if state in found), "Pending")


def _was_complete(profile: Profile) -> bool:
    ready = profile.status.condition(_READY)
    return (
        ready is not None
        and ready.observed_generation == profile.metadata.generation
        and profile.status.status not in {"", "Pending"}
    )


def _ready(profile: Profile, state: spo.State, by_node: Mapping[str, NodeStatus], nodes: Collection[str]) -> Condition:
    counted = "Installed" if state == "Pending" else state
    done = sum(each.status.status == counted for each in by_node.values())
    message = f"{counted} on {done} of {len(nodes)} nodes"
    if silent := sorted(set(nodes) - by_node.keys()):
        message += f"; nothing heard yet of {_listed(silent, _MOST_SILENT)}"
    if not nodes:
        message = "no node runs the installer: see the DaemonSet node of the release"
    elif state == "Terminating":
        message = "it is being deleted"
    return _condition(profile, _READY, "True" if state == "Installed" else "False", _REASONS[state], message)


def _available(profile: Profile, answers: Collection[NodeStatus], statuses: Collection[NodeStatus]) -> Condition:
    """Whether new containers are bound to the profile: once they are, faults of single nodes do not end that.

    Args:
        profile: As it is.
        answers: What the nodes say on which the installer runs.
        statuses: The same, and of nodes on which it does not run at the moment: what is there stays.

    """
    having = [each for each in statuses if each.has_file]
    lacking = sorted(each.spec.node_name for each in answers if each.status.status and not each.has_file)
    if profile.metadata.deletion_timestamp:
        return _condition(profile, AVAILABLE, "False", "Deleting", "it is being deleted")
    if state := withheld(profile.spec, profile.metadata.labels):
        return _condition(profile, AVAILABLE, "False", state, f"it is {state}, so no node is to have it")
    if not having:
        return _condition(profile, AVAILABLE, "False", "NoFile", "no node has a good file of it")
    message = f"nodes with a good file: {len(having)}"
    if earlier := sum(each.has_only_last_good for each in having):
        message += f", of an earlier version: {earlier}"
    if lacking:
        message += f"; without: {_listed(lacking)}"
    if lacking and not _was_bound(profile):
        return _condition(profile, AVAILABLE, "False", "FileMissing", message)
    return _condition(profile, AVAILABLE, "True", "FileInPlace", message)


def _was_bound(profile: Profile) -> bool:
    # Where it has no such condition yet, the Security Profiles Operator may have installed it.
    available = profile.status.condition(AVAILABLE)
    return available.status == "True" if available else profile.status.status == "Installed"


def _problems(profile: Profile, by_node: Mapping[str, NodeStatus]) -> list[Condition]:
    """A condition for each reason that nodes give, with the message of the first of them and their names."""
    by_reason: dict[str, list[str]] = {}
    messages: dict[str, str] = {}
    for node in sorted(by_node):
        annotations = by_node[node].metadata.annotations
        if reason := annotations.get(REASON_ANNOTATION):
            by_reason.setdefault(reason, []).append(node)
            messages.setdefault(reason, annotations.get(MESSAGE_ANNOTATION, ""))
    return [
        _condition(profile, reason, "True", reason, f"{messages[reason]} (on {_listed(found)})")
        for reason, found in sorted(by_reason.items())
        if reason not in {_READY, AVAILABLE, IN_USE, UNKNOWN_SYSCALLS}
    ]


def _unknown(profile: Profile) -> list[Condition]:
    names = sorted({name for rule in profile.spec.syscalls for name in rule.names} - NAMES)
    if not names:
        return []
    message = f"no kernel has {_listed(names)}: runtimes skip them; correct or remove them"
    return [_condition(profile, UNKNOWN_SYSCALLS, "True", UNKNOWN_SYSCALLS, message[:_MOST_MESSAGE])]


def _held(users: Collection[str]) -> str:
    return f"deletion waits for the pods that use it: {_listed(sorted(users))}"


def _listed(names: list[str], most: int = _MOST_NAMES) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _condition(profile: Profile, type_: str, status: str, reason: str, message: str) -> Condition:
    return Condition(type_, status, reason, message, observed_generation=profile.metadata.generation)


def dated(conditions: list[Condition], before: Iterable[Condition], now: datetime) -> list[Condition]:
    """Each with the time since when its status is what it is."""
    since = {(each.type, each.status): each.last_transition_time for each in before}
    at = now.isoformat(timespec="seconds").replace("+00:00", "Z")
    return [
        Condition(
            type=each.type,
            status=each.status,
            reason=each.reason,
            message=each.message,
            observed_generation=each.observed_generation,
            last_transition_time=since.get((each.type, each.status)) or at,
        )
        for each in conditions
    ]


def _events(before: Iterable[Condition], after: Iterable[Condition]) -> list[Event]:
    """An Event for each problem that is new or says something new: what was said is known from the status itself."""
    said = {(each.type, each.message) for each in before}
    return [
        Event("Normal" if each.type == IN_USE else "Warning", each.reason, each.message)
        for each in after
        if each.type not in {_READY, AVAILABLE} and (each.type, each.message) not in said
    ]
