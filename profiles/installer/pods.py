"""Which files the pods of this node name: a container that restarts must find its own."""

import posixpath
from collections.abc import Iterable, Iterator

from msgspec import Struct

from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.spo import FOLDER

_ANNOTATION = "seccomp.security.alpha.kubernetes.io/pod"
_CONTAINER_ANNOTATION = "container.seccomp.security.alpha.kubernetes.io/"
"""Before the container's name. Kubernetes no longer reads either of them; runtimes of old nodes do."""
_ANNOTATED = "localhost/"
_ENDED = {"Succeeded", "Failed"}


class SeccompProfile(Struct, frozen=True, rename="camel"):
    """core/v1 SeccompProfile."""

    localhost_profile: str | None = None


class SecurityContext(Struct, frozen=True, rename="camel"):
    """Of a pod or a container: what it says of seccomp."""

    seccomp_profile: SeccompProfile | None = None


class Container(Struct, frozen=True, rename="camel"):
    """Of any kind: init, ephemeral or neither."""

    security_context: SecurityContext | None = None


class PodSpec(Struct, frozen=True, rename="camel"):
    """core/v1 PodSpec, as far as it names profiles."""

    security_context: SecurityContext | None = None
    containers: list[Container] | None = None
    init_containers: list[Container] | None = None
    ephemeral_containers: list[Container] | None = None


class PodStatus(Struct, frozen=True):
    """Whether it may still run."""

    phase: str = ""


class Pod(Struct, frozen=True):
    """core/v1 Pod, as far as it names profiles."""

    metadata: ObjectMeta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


def named_by(pod: Pod) -> frozenset[str]:
    """The files in `FOLDER` that a pod names. One that has ended never starts a container again, so it names none."""
    if pod.status.phase in _ENDED:
        return frozenset()
    paths = (posixpath.normpath(path) for path in _paths(pod))
    folder = f"{FOLDER}/"
    return frozenset(path.removeprefix(folder) for path in paths if path.startswith(folder))


def named_by_all(pods: Iterable[Pod]) -> frozenset[str]:
    """The files that any of the pods names."""
    return frozenset().union(*map(named_by, pods))


def _paths(pod: Pod) -> Iterator[str]:
    spec = pod.spec
    containers = [*(spec.containers or ()), *(spec.init_containers or ()), *(spec.ephemeral_containers or ())]
    for context in (spec.security_context, *(each.security_context for each in containers)):
        if context and context.seccomp_profile and context.seccomp_profile.localhost_profile:
            yield context.seccomp_profile.localhost_profile
    for key, value in pod.metadata.annotations.items():
        if (key == _ANNOTATION or key.startswith(_CONTAINER_ANNOTATION)) and value.startswith(_ANNOTATED):
            yield value.removeprefix(_ANNOTATED)
