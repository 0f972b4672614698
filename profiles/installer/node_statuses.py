"""The SecurityProfileNodeStatus objects of this node: one for each SeccompProfile, written when it changes."""

import logging
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct

from exectrail.contracts import spo
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.profile_state import LAST_GOOD_ANNOTATION, MESSAGE_ANNOTATION, REASON_ANNOTATION
from exectrail.k8s.client import ApiError, Client
from profiles.installer import metrics
from profiles.installer.plan import NodeState

KIND = "SecurityProfileNodeStatus"
OF_KIND = "SeccompProfile"
PATH = f"/apis/{spo.GROUP_VERSION}/{spo.NODE_STATUSES}"

_LIST_AGAIN = 300.0
"""Seconds after which the API is asked anew what is there: others may have changed or deleted it."""
_MOST_LABEL = 63

log = logging.getLogger(__name__)


class Owner(Struct, frozen=True, rename="camel"):
    """meta/v1 OwnerReference: the API server deletes the status with the profile."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False


class Meta(Struct, frozen=True, rename="camel"):
    """meta/v1 ObjectMeta, with what is ours to set."""

    name: str
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: list[Owner] = []


class Spec(Struct, frozen=True, rename="camel"):
    """Which node it is about."""

    node_name: str = ""


class Status(Struct, frozen=True):
    """How the profile is there; empty before it was first said."""

    status: str = ""


class NodeStatus(Struct, frozen=True, rename="camel"):
    """SecurityProfileNodeStatus."""

    metadata: Meta
    spec: Spec = Spec()
    status: Status = Status()
    api_version: str = spo.GROUP_VERSION
    kind: str = KIND


class NodeStatuses:
    """Keeps them as they should be.

    Args:
        client: Where to write.
        node: This node's name.
        clock: Seconds, monotonic.
        progressed: Called before each object: many of them may take minutes.

    """

    def __init__(
        self,
        client: Client,
        node: str,
        clock: Callable[[], float] = time.monotonic,
        progressed: Callable[[], None] = lambda: None,
    ) -> None:
        self._client, self._node, self._clock, self._progressed = client, node, clock, progressed
        self._there: dict[str, NodeStatus] | None = None
        self._list_at = 0.0

    def update(self, states: Mapping[str, NodeState], profiles: Mapping[str, ObjectMeta]) -> int:
        """Make the API say `states`, by profile; delete those of profiles that are gone.

        Args:
            states: What to say, by profile.
            profiles: All SeccompProfiles that exist.

        Returns:
            How many the API refused; they are tried again at the next call.

        Raises:
            ApiError: The API cannot be reached, or does not say what is there.

        """
        there = self._listed()
        wanted = {
            spo.node_status_name(profile, self._node): self._of(meta, state)
            for profile, state in states.items()
            if (meta := profiles.get(profile))
        }
        refused = 0
        for name in sorted(there.keys() | wanted.keys()):
            self._progressed()
            try:
                self._settle(there, name, wanted.get(name))
            except ApiError as error:
                self._there = None  # what is there is not sure any more
                if error.status == 0:
                    raise
                refused += 1
                metrics.STATUSES_REFUSED.inc()
                log.warning("cannot write %s %s: %s; it is tried again", KIND, name, error)
        return refused

    def _listed(self) -> dict[str, NodeStatus]:
        """This node's, by name. What is written changes the dict, too."""
        if self._there is None or self._clock() >= self._list_at:
            selector = f"{spo.NODE_NAME_LABEL}={_label(self._node)}"
            pages = self._client.pages(PATH, NodeStatus, labelSelector=selector)
            found = (item for page in pages for item in page.items)
            self._there = {item.metadata.name: item for item in found if self._is_ours(item)}
            self._list_at = self._clock() + _LIST_AGAIN
        return self._there

    def _is_ours(self, status: NodeStatus) -> bool:
        kinds = {status.metadata.labels.get(spo.PROFILE_KIND_LABEL)}
        kinds |= {owner.kind for owner in status.metadata.owner_references}
        return status.spec.node_name == self._node and OF_KIND in kinds

    def _of(self, profile: ObjectMeta, state: NodeState) -> NodeStatus:
        labels = {
            spo.PROFILE_ID_LABEL: spo.profile_id(OF_KIND, profile.name),
            spo.NODE_NAME_LABEL: _label(self._node),
            spo.PROFILE_STATE_LABEL: state.state,
            spo.PROFILE_KIND_LABEL: OF_KIND,
        }
        annotations = {REASON_ANNOTATION: state.reason, MESSAGE_ANNOTATION: state.message}
        annotations[LAST_GOOD_ANNOTATION] = "true" if state.last_good else ""
        said = {key: text for key, text in annotations.items() if text}
        owner = Owner(spo.GROUP_VERSION, OF_KIND, profile.name, profile.uid, controller=True)
        meta = Meta(spo.node_status_name(profile.name, self._node), labels, said, [owner])
        return NodeStatus(meta, Spec(self._node), Status(state.state))

    def _settle(self, there: dict[str, NodeStatus], name: str, wanted: NodeStatus | None) -> None:
        """Make one as it should be, with as few requests as that takes."""
        now = there.get(name)
        if wanted is None:
            self._delete(there, name)
            return
        if now is None:
            now = self._create(wanted)
        if changes := _changes(now.metadata, wanted.metadata):
            self._client.patch(f"{PATH}/{name}", {"metadata": changes})
        if now.status != wanted.status:
            # Last: who waits for it finds the reason there already.
            self._client.patch(f"{PATH}/{name}/status", {"status": {"status": wanted.status.status}})
        there[name] = wanted

    def _create(self, wanted: NodeStatus) -> NodeStatus:
        """Create it, without its status, which the API leaves out; as it is then, or was already."""
        new = msgspec.structs.replace(wanted, status=Status())
        try:
            self._client.create(PATH, new)
        except ApiError as error:
            if error.status != 409:
                raise
            other = self._client.get(f"{PATH}/{wanted.metadata.name}", NodeStatus)
            if other.spec.node_name != self._node:
                raise
            return other
        return new

    def _delete(self, there: dict[str, NodeStatus], name: str) -> None:
        try:
            self._client.delete(f"{PATH}/{name}")
        except ApiError as error:
            if error.status != 404:  # the API server may have been first
                raise
        there.pop(name, None)


def _changes(now: Meta, wanted: Meta) -> dict[str, Any]:
    """The merge patch of the metadata; what others have added stays."""
    changes: dict[str, Any] = {}
    if labels := {key: text for key, text in wanted.labels.items() if now.labels.get(key) != text}:
        changes["labels"] = labels
    ours = (REASON_ANNOTATION, MESSAGE_ANNOTATION, LAST_GOOD_ANNOTATION)
    annotations = {key: wanted.annotations.get(key) for key in ours}
    if annotations := {key: text for key, text in annotations.items() if now.annotations.get(key) != text}:
        changes["annotations"] = annotations
    if now.owner_references != wanted.owner_references:
        changes["ownerReferences"] = [msgspec.to_builtins(owner) for owner in wanted.owner_references]
    return changes


def _label(node: str) -> str:
    """A label's value has room for most names of nodes, not for all."""
    return node if len(node) <= _MOST_LABEL else sha256(node.encode()).hexdigest()[:_MOST_LABEL]
