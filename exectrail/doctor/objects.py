"""The fields of the API's objects that the doctor looks at."""

from typing import Any

from msgspec import Struct, field

from exectrail.contracts.label_selector import LabelSelector
from exectrail.contracts.nodetrail import NodeTrailStatus

NAME_LABEL, INSTANCE_LABEL, COMPONENT_LABEL = (f"app.kubernetes.io/{key}" for key in ("name", "instance", "component"))
PRODUCT = "exectrail"
"""The value of `NAME_LABEL` on all objects of a release."""
INJECTED = "cert-manager.io/inject-ca-from"
"""Annotation of a configuration whose `caBundle` cert-manager fills: the Certificate, `namespace/name`."""


class ManagedFields(Struct, frozen=True, rename={"fields": "fieldsV1"}):
    """Who set which fields, and when by the API server's clock (meta/v1 ManagedFieldsEntry)."""

    time: str = ""
    fields: dict[str, Any] = {}


class Meta(Struct, frozen=True, rename="camel"):
    """meta/v1 ObjectMeta."""

    name: str = ""
    namespace: str = ""
    creation_timestamp: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    managed_fields: list[ManagedFields] = []


class PodMeta(Struct, frozen=True, rename="camel"):
    """The same of a pod; there are many, and who set their fields is much."""

    name: str = ""
    namespace: str = ""
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Condition(Struct, frozen=True):
    """Of any object that has such."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


# ---- nodes ----


class NodeStatus(Struct, frozen=True):
    """core/v1 NodeStatus."""

    conditions: list[Condition] = []


class Node(Struct, frozen=True):
    """core/v1 Node."""

    metadata: Meta
    status: NodeStatus = NodeStatus()

    @property
    def windows(self) -> bool:
        """Whether no agent can run there."""
        return self.metadata.labels.get("kubernetes.io/os") == "windows"

    @property
    def ready(self) -> bool:
        """Whether its kubelet says so."""
        return any(each.type == "Ready" and each.status == "True" for each in self.status.conditions)


class Trail(Struct, frozen=True):
    """A NodeTrail, with who wrote it when."""

    metadata: Meta
    status: NodeTrailStatus = NodeTrailStatus()


class Namespace(Struct, frozen=True):
    """core/v1 Namespace."""

    metadata: Meta


# ---- pods ----


class Seccomp(Struct, frozen=True, rename="camel"):
    """core/v1 SeccompProfile."""

    type: str = ""
    localhost_profile: str = ""


class Capabilities(Struct, frozen=True):
    """core/v1 Capabilities."""

    add: list[str] = []
    drop: list[str] = []


class SecurityContext(Struct, frozen=True, rename="camel"):
    """Of a pod or a container; a pod's has neither capabilities nor `privileged`."""

    seccomp_profile: Seccomp | None = None
    capabilities: Capabilities | None = None
    privileged: bool | None = None


class Container(Struct, frozen=True, rename="camel"):
    """core/v1 Container."""

    name: str = ""
    image: str = ""
    restart_policy: str = ""
    security_context: SecurityContext | None = None


class System(Struct, frozen=True):
    """core/v1 PodOS."""

    name: str = ""


class PodSpec(Struct, frozen=True, rename="camel"):
    """core/v1 PodSpec."""

    node_name: str = ""
    containers: list[Container] = []
    init_containers: list[Container] = []
    security_context: SecurityContext | None = None
    os: System | None = None


class PodStatus(Struct, frozen=True):
    """core/v1 PodStatus."""

    phase: str = ""
    conditions: list[Condition] = []


class Pod(Struct, frozen=True):
    """core/v1 Pod."""

    metadata: PodMeta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.metadata.namespace}/{self.metadata.name}"

    @property
    def ready(self) -> bool:
        """Whether all its containers are."""
        return any(each.type == "Ready" and each.status == "True" for each in self.status.conditions)


# ---- the release ----


class WorkloadContainer(Struct, frozen=True):
    """A container of a workload; never its environment."""

    args: list[str] = []


class TemplateSpec(Struct, frozen=True):
    """The pod's spec of a workload."""

    containers: list[WorkloadContainer] = []


class Template(Struct, frozen=True):
    """core/v1 PodTemplateSpec."""

    spec: TemplateSpec = TemplateSpec()


class WorkloadSpec(Struct, frozen=True):
    """Of a Deployment or a DaemonSet; the latter has no `replicas`."""

    replicas: int = 1
    template: Template = Template()


class WorkloadStatus(Struct, frozen=True, rename="camel"):
    """Of a Deployment or a DaemonSet."""

    ready_replicas: int = 0
    desired_number_scheduled: int = 0
    number_ready: int = 0


class Workload(Struct, frozen=True):
    """apps/v1 Deployment or DaemonSet."""

    metadata: Meta
    spec: WorkloadSpec = WorkloadSpec()
    status: WorkloadStatus = WorkloadStatus()

    @property
    def component(self) -> str:
        """Which part of the release it is: `webhook`, `controller`, `enricher` or `node`."""
        return self.metadata.labels.get(COMPONENT_LABEL, "")

    def argument(self, name: str) -> str:
        """The value of an argument `--name=value`; empty where there is none."""
        begin = f"--{name}="
        return next((word.removeprefix(begin) for word in self._words() if word.startswith(begin)), "")

    def has(self, name: str) -> bool:
        """Whether it has an argument `--name`."""
        return f"--{name}" in self._words()

    def _words(self) -> list[str]:
        return [word for container in self.spec.template.spec.containers for word in container.args]


class Configuration(Struct, frozen=True):
    """admissionregistration.k8s.io/v1 MutatingWebhookConfiguration."""

    metadata: Meta
    webhooks: list[dict[str, Any]] = []


class BindingSpec(Struct, frozen=True, rename="camel"):
    """Which containers a ProfileBinding is about."""

    image: str = ""
    pod_selector: LabelSelector | None = None


class Binding(Struct, frozen=True):
    """The Security Profiles Operator's ProfileBinding."""

    metadata: Meta
    spec: BindingSpec = BindingSpec()


class ConfigMap(Struct, frozen=True):
    """core/v1 ConfigMap."""

    metadata: Meta
    data: dict[str, str] = field(default_factory=dict)


class CertificateStatus(Struct, frozen=True, rename="camel"):
    """How far cert-manager is."""

    conditions: list[Condition] = []
    not_before: str = ""
    not_after: str = ""
    renewal_time: str = ""


class Certificate(Struct, frozen=True):
    """cert-manager.io/v1 Certificate."""

    metadata: Meta
    status: CertificateStatus = CertificateStatus()

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.metadata.namespace}/{self.metadata.name}"
