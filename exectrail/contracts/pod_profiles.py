"""Which SeccompProfiles' files a pod names: a container that restarts must find its own.

Controller and installer both ask this, and must agree: one holds the profile, the other its file.
"""

import posixpath
from collections.abc import Iterator
from typing import Protocol

from msgspec import Struct

from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.spo import FOLDER

_ANNOTATION = "seccomp.security.alpha.kubernetes.io/pod"
_CONTAINER_ANNOTATION = "container.seccomp.security.alpha.kubernetes.io/"
"""Before the container's name. Kubernetes no longer reads either of them; runtimes of old nodes do."""
_ANNOTATED = "localhost/"
_FOLDER = f"{FOLDER}/"
_ENDED = {"Succeeded", "Failed"}


class SeccompProfile(Struct, frozen=True, rename="camel"):
    """core/v1 SeccompProfile."""

    localhost_profile: str | None = None


class SecurityContext(Struct, frozen=True, rename="camel"):
    """Of a pod or a container: what it says of seccomp."""

    seccomp_profile: SeccompProfile | None = None


class Container(Struct, frozen=True, rename="camel"):
    """Of any kind: init, ephemeral or neither."""

    image: str = ""
    security_context: SecurityContext | None = None


class PodSpec(Struct, frozen=True, rename="camel"):
    """core/v1 PodSpec, as far as it names profiles."""

    node_name: str = ""
    security_context: SecurityContext | None = None
    containers: list[Container] | None = None
    init_containers: list[Container] | None = None
    ephemeral_containers: list[Container] | None = None

    @property
    def every_container(self) -> list[Container]:
        """Of all kinds; those of `initContainers` may be sidecars, which run as long as the pod."""
        return [*(self.containers or ()), *(self.init_containers or ()), *(self.ephemeral_containers or ())]


class PodStatus(Struct, frozen=True):
    """Whether it may still run."""

    phase: str = ""


class Pod(Protocol):
    """core/v1 Pod, as far as it names profiles."""

    @property
    def metadata(self) -> ObjectMeta:
        """Its annotations may name profiles, too."""

    @property
    def spec(self) -> PodSpec:
        """What its containers are to be."""

    @property
    def status(self) -> PodStatus:
        """Whether it may still run."""


def file_of(context: SecurityContext | None) -> str | None:
    """The SeccompProfile's file that a pod or container names, relative to the folder of those."""
    path = context.seccomp_profile.localhost_profile if context and context.seccomp_profile else None
    return _relative(path or "")


def files_of(pod: Pod) -> frozenset[str]:
    """The SeccompProfiles' files that a pod needs. One that has ended starts no container again, so it needs none."""
    return frozenset() if pod.status.phase in _ENDED else frozenset(_files(pod))


def _files(pod: Pod) -> Iterator[str]:
    spec = pod.spec
    for context in (spec.security_context, *(each.security_context for each in spec.every_container)):
        if file := file_of(context):
            yield file
    for key, value in pod.metadata.annotations.items():
        named = (key == _ANNOTATION or key.startswith(_CONTAINER_ANNOTATION)) and value.startswith(_ANNOTATED)
        if named and (file := _relative(value.removeprefix(_ANNOTATED))):
            yield file


def _relative(path: str) -> str | None:
    path = posixpath.normpath(path)  # as the kubelet joins it to its folder
    return path.removeprefix(_FOLDER) if path.startswith(_FOLDER) else None
