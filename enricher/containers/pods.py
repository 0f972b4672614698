"""The fields of a Pod and a Namespace that the enricher decodes (core/v1)."""

from msgspec import Struct, field

from exectrail.contracts.meta import ObjectMeta

CONFIG_HASH, CONFIG_MIRROR = "kubernetes.io/config.hash", "kubernetes.io/config.mirror"
"""Annotations that the kubelet gives the API's copy of a static pod; the first one names its cgroup."""


class SeccompProfile(Struct, frozen=True, rename="camel"):
    """core/v1 SeccompProfile."""

    type: str = ""
    localhost_profile: str = ""


class SecurityContext(Struct, frozen=True, rename="camel"):
    """What a pod's and a container's security context say of seccomp; a pod's is never `privileged`."""

    seccomp_profile: SeccompProfile | None = None
    privileged: bool = False


class EnvVar(Struct, frozen=True):
    """A variable with a literal value; others have the value "" here."""

    name: str = ""
    value: str = ""


class ExecAction(Struct, frozen=True):
    """A command that the kubelet runs in a container, without a shell; of a probe, it expands variables in it."""

    command: list[str] = []


class Handler(Struct, frozen=True):
    """A probe, or what a lifecycle hook does; only commands make processes."""

    exec: ExecAction | None = None


class Lifecycle(Struct, frozen=True, rename="camel"):
    """core/v1 Lifecycle."""

    post_start: Handler | None = None
    pre_stop: Handler | None = None


class Container(Struct, frozen=True, rename="camel"):
    """A container of any kind: core/v1 Container and EphemeralContainer."""

    name: str = ""
    image: str = ""
    env: list[EnvVar] = []
    command: list[str] = []
    args: list[str] = []
    security_context: SecurityContext | None = None
    liveness_probe: Handler | None = None
    readiness_probe: Handler | None = None
    startup_probe: Handler | None = None
    lifecycle: Lifecycle | None = None


class PodSpec(Struct, frozen=True, rename="camel"):
    """core/v1 PodSpec."""

    containers: list[Container] = []
    init_containers: list[Container] = []
    ephemeral_containers: list[Container] = []
    node_name: str = ""
    security_context: SecurityContext | None = None
    host_pid: bool = field(name="hostPID", default=False)
    host_network: bool = False
    host_ipc: bool = field(name="hostIPC", default=False)
    runtime_class_name: str = ""


class Started(Struct, frozen=True, rename="camel"):
    """core/v1 ContainerStateRunning and ContainerStateTerminated: RFC 3339, in whole seconds."""

    started_at: str | None = None


class ContainerState(Struct, frozen=True):
    """core/v1 ContainerState; of one that waits for its start, both are None."""

    running: Started | None = None
    terminated: Started | None = None

    @property
    def started_at(self) -> str | None:
        """When it started, by the node's clock; None before, or where the kubelet does not know."""
        known = self.running or self.terminated
        return known.started_at if known else None


class ContainerStatus(Struct, frozen=True):
    """core/v1 ContainerStatus; `container_id` is `<runtime>://<id>`, or empty before the first start."""

    name: str = ""
    container_id: str = field(name="containerID", default="")
    state: ContainerState = ContainerState()


class PodStatus(Struct, frozen=True, rename="camel"):
    """core/v1 PodStatus."""

    container_statuses: list[ContainerStatus] = []
    init_container_statuses: list[ContainerStatus] = []
    ephemeral_container_statuses: list[ContainerStatus] = []
    phase: str = ""

    @property
    def is_over(self) -> bool:
        """Whether all its containers have ended for good."""
        return self.phase in ("Succeeded", "Failed")


class Pod(Struct, frozen=True):
    """core/v1 Pod."""

    metadata: ObjectMeta
    spec: PodSpec = field(default_factory=PodSpec)
    status: PodStatus = field(default_factory=PodStatus)


class Namespace(Struct, frozen=True):
    """core/v1 Namespace."""

    metadata: ObjectMeta


def probe_commands(container: Container) -> list[list[str]]:
    """What its exec probes run, as the spec has it."""
    probes = (container.liveness_probe, container.readiness_probe, container.startup_probe)
    return [each.exec.command for each in probes if each and each.exec]


def variables_of(container: Container) -> dict[str, str]:
    """The values that its spec gives its variables."""
    return {each.name: each.value for each in container.env}


def containers_of(pod: Pod) -> list[Container]:
    """All its containers: ordinary, init (sidecars among them) and ephemeral."""
    return [*pod.spec.containers, *pod.spec.init_containers, *pod.spec.ephemeral_containers]


def statuses_of(pod: Pod) -> dict[str, ContainerStatus]:
    """What the kubelet has reported of the pod's containers, by runtime id."""
    return {each.container_id.partition("://")[2]: each for each in _statuses(pod) if each.container_id}


def ids_of(pod: Pod) -> dict[str, str]:
    """Container names by runtime id, as far as the kubelet has reported them."""
    return {container_id: each.name for container_id, each in statuses_of(pod).items()}


def running_in(pod: Pod) -> dict[str, str]:
    """Runtimes by the ids of the containers that run now, as far as the kubelet has reported them."""
    reported = (
        each.container_id.partition("://") for each in _statuses(pod) if each.container_id and each.state.running
    )
    return {container_id: runtime for runtime, _, container_id in reported}


def _statuses(pod: Pod) -> list[ContainerStatus]:
    status = pod.status
    return [*status.container_statuses, *status.init_container_statuses, *status.ephemeral_container_statuses]
