"""What the webhook sees of the cluster: live copies, so that no request waits for the API server."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from msgspec import Struct

from exectrail.contracts import nodetrail, spo
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.nodetrail import NodeTrail
from exectrail.contracts.session import BREAK_GLASS_ANNOTATION, TAG_LABEL
from exectrail.k8s.client import Client
from exectrail.k8s.mirror import Mirror
from webhook import metrics
from webhook.cluster.bindings import Bindings, kept
from webhook.cluster.env_reports import EnvReports
from webhook.cluster.places import Places
from webhook.reviews.profile_bindings import Policies, ProfileBinding, SeccompProfile
from webhook.reviews.tag_mode import Known


class Labelled(Struct, frozen=True):
    """A namespace or pod, of which only the labels matter."""

    metadata: ObjectMeta


def _kept_namespace(found: Labelled) -> Labelled:
    """A namespace without the annotations that are not asked for."""
    reason = found.metadata.annotations.get(BREAK_GLASS_ANNOTATION)
    annotations = {BREAK_GLASS_ANNOTATION: reason} if reason else {}
    metadata = ObjectMeta(name=found.metadata.name, labels=found.metadata.labels, annotations=annotations)
    return found if found.metadata == metadata else Labelled(metadata)


class View:
    """Namespaces and their policies, the few pods that choose a tag mode of their own, and nodes' reports.

    Args:
        client: The API server.
        allow_unconfined: Whether the built-in profile that refuses nothing is installed.

    """

    def __init__(self, client: Client, *, allow_unconfined: bool = False) -> None:
        self._allow_unconfined = allow_unconfined
        self._env, self._bindings = EnvReports(), Bindings()
        self._namespaces = Mirror(client, "/api/v1/namespaces", Labelled, keep=_kept_namespace, metadata_only=True)
        self._pods = Mirror(client, "/api/v1/pods", Labelled, metadata_only=True, few=True, labelSelector=TAG_LABEL)
        self.places = Places(client, self._env)
        trails = f"/apis/{nodetrail.GROUP_VERSION}/{nodetrail.PLURAL}"
        reports = Mirror(client, trails, NodeTrail, self._reported)
        bindings, *older = spo.paths(spo.PROFILE_BINDINGS)
        self._profile_bindings = Mirror(
            client, bindings, ProfileBinding, self._bindings.changed, kept, older=older, optional=True
        )
        profiles, *older = spo.paths(spo.SECCOMP_PROFILES)
        self._profiles = Mirror(client, profiles, SeccompProfile, None, kept, older=older, optional=True)
        self.mirrors: tuple[Mirror[Any], ...] = (
            self._namespaces,
            self._pods,
            reports,
            self._profile_bindings,
            self._profiles,
        )

    def start(self) -> None:
        """Begin to look, in threads of their own."""
        self.places.start()
        for mirror in self.mirrors:
            of_one = [each for each in self.mirrors if each.resource == mirror.resource]
            metrics.MIRROR_AGE.labels(mirror.resource).set_function(partial(_oldest, of_one))
            mirror.start()

    def conditions(self) -> dict[str, Callable[[], bool]]:
        """What has to be known before requests are answered; without NodeTrails containers are unknown, no more."""
        return {
            "namespaces known": self._namespaces.synced.is_set,
            "labelled pods known": self._pods.synced.is_set,
            # Where they cannot be read, execs are to be recorded all the same.
            "profile bindings asked for": lambda: _asked(self._profile_bindings) and _asked(self._profiles),
        }

    def policies(self, namespace: str) -> Policies:
        """What a namespace wants for its new pods."""
        found = self._namespaces.objects.get(namespace)
        bindings = self._bindings.of(namespace) if self._profile_bindings.synced.is_set() else None
        labels = found.metadata.labels if found else None
        return Policies(labels, bindings, self._profiles.objects, self._allow_unconfined)

    def hurry(self) -> None:
        """Have the namespaces looked at at once, where the API server was away."""
        self._namespaces.hurry()

    def has_namespace(self, name: str) -> bool:
        """Whether there is such a namespace, as far as known."""
        return name in self._namespaces.objects

    def known(self, namespace: str, pod: str) -> Known:
        """What is known now of a namespace and a pod in it."""
        found, labelled = self._namespaces.objects.get(namespace), self._pods.objects.get(f"{namespace}/{pod}")
        node = self.places.node(namespace, pod)
        return Known(
            found.metadata.labels if found else None,
            labelled.metadata.labels if labelled else {},
            lambda container: self._env.has_env(namespace, pod, container, node, datetime.now(UTC)),
            found.metadata.annotations.get(BREAK_GLASS_ANNOTATION, "") if found else "",
        )

    def _reported(self, old: NodeTrail | None, new: NodeTrail | None) -> None:
        self._env.changed(old, new)
        self.places.changed(old, new)


def _oldest(mirrors: list[Mirror[Any]]) -> float:
    return max(mirror.age() for mirror in mirrors)


def _asked(mirror: Mirror[Any]) -> bool:
    return mirror.synced.is_set() or mirror.failures > 0
