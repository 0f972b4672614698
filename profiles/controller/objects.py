"""The objects that the profiles' status depends on, with the fields that decide."""

from typing import get_args

from msgspec import Struct, field

from exectrail.contracts import spo
from exectrail.contracts.label_selector import LabelSelector
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.pod_profiles import PodSpec, PodStatus, files_of
from exectrail.contracts.profile_state import AVAILABLE, LAST_GOOD_ANNOTATION
from exectrail.seccomp.withheld import Switch

KIND = "SeccompProfile"
BINDING_KIND = "ProfileBinding"
STATES: tuple[spo.State, ...] = get_args(spo.State)


class Meta(ObjectMeta, frozen=True, omit_defaults=True, rename="camel"):
    """meta/v1 ObjectMeta, with what deletion needs."""

    generation: int = 0
    finalizers: list[str] = field(default_factory=list)


class Condition(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """meta/v1 Condition."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    observed_generation: int = 0
    last_transition_time: str = ""


class ProfileStatus(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """The status of a SeccompProfile."""

    status: str = ""
    localhost_profile: str = ""
    active_workloads: list[str] = []
    conditions: list[Condition] = []

    def condition(self, type_: str) -> Condition | None:
        """The condition of this type."""
        return next((each for each in self.conditions if each.type == type_), None)

    @property
    def binds(self) -> bool:
        """Whether the webhook gives new containers the profile."""
        available = self.condition(AVAILABLE)
        return self.status == "Installed" or (available is not None and available.status == "True")


class Rule(Struct, frozen=True):
    """The system calls that a rule names."""

    names: list[str] = []


class ProfileSpec(Switch, frozen=True):
    """What a profile names, and whether it is to be installed."""

    syscalls: list[Rule] = field(default_factory=list)


class Profile(Struct, frozen=True):
    """A SeccompProfile: what its rules say is the nodes' business."""

    metadata: Meta
    status: ProfileStatus = ProfileStatus()
    spec: ProfileSpec = ProfileSpec()


class NodeName(Struct, frozen=True, rename="camel"):
    """Which node a SecurityProfileNodeStatus is about."""

    node_name: str = ""


class NodeState(Struct, frozen=True):
    """How the profile is there."""

    status: str = ""


class NodeStatus(Struct, frozen=True):
    """A SecurityProfileNodeStatus: how a node has a profile."""

    metadata: Meta
    spec: NodeName = NodeName()
    status: NodeState = NodeState()

    @property
    def has_file(self) -> bool:
        """Whether a good file of the profile is there, of its present version or of an earlier one."""
        return self.status.status == "Installed" or self.has_only_last_good

    @property
    def has_only_last_good(self) -> bool:
        """Whether it is one of an earlier version."""
        return self.status.status == "Error" and self.metadata.annotations.get(LAST_GOOD_ANNOTATION) == "true"


class Node(Struct, frozen=True):
    """A node: that it exists is all that matters."""

    metadata: ObjectMeta


class Pod(Struct, frozen=True):
    """A pod, as far as it names profiles."""

    metadata: Meta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def key(self) -> str:
        """As `activeWorkloads` names it."""
        return f"{self.metadata.namespace}/{self.metadata.name}"

    def owned_by(self, kind: str, name: str) -> bool:
        """Whether it is a pod of this workload."""
        return any(owner.kind == kind and owner.name == name for owner in self.metadata.owner_references)


class ProfileRef(Struct, frozen=True):
    """The profile that a binding is about."""

    kind: str
    name: str


class BindingSpec(Struct, frozen=True, rename="camel"):
    """Which profile, for which image and pods."""

    profile_ref: ProfileRef
    image: str
    pod_selector: LabelSelector | None = None


class BindingStatus(Struct, frozen=True, rename="camel"):
    """The status of a ProfileBinding."""

    active_workloads: list[str] = []


class Binding(Struct, frozen=True):
    """A ProfileBinding."""

    metadata: Meta
    spec: BindingSpec
    status: BindingStatus = BindingStatus()


def needed(pod: Pod) -> Pod:
    """What is needed of a pod: little, where it names no SeccompProfile."""
    if files_of(pod) or not pod.metadata.uid:
        return pod
    meta = Meta(
        name=pod.metadata.name, namespace=pod.metadata.namespace, owner_references=pod.metadata.owner_references
    )
    return Pod(meta, PodSpec(node_name=pod.spec.node_name), pod.status)
