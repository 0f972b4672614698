"""What the controller writes about SeccompProfiles and their bindings.

Every write names the object by its UID: a new object of the same name is none of its business.
"""

# mypy: allow-untyped-calls
# (most of the official client has no types)

from datetime import UTC, datetime
from typing import Any

import msgspec
from kubernetes import client

from exectrail.contracts import spo
from exectrail.k8s.client import ApiError
from profiles.controller.objects import (
    BINDING_KIND,
    KIND,
    Binding,
    BindingStatus,
    Node,
    NodeStatus,
    Profile,
    ProfileStatus,
)
from profiles.controller.profile_status import Event
from profiles.controller.requests import found, resource, send

_COMPONENT = "exectrail-controller"
_MOST_MESSAGE = 1024
"""Of an Event (core/v1)."""


class ProfileApi:
    """The writes.

    Args:
        api_client: The official client, configured.
        identity: This replica's name, for Events.

    """

    def __init__(self, api_client: client.ApiClient, identity: str) -> None:
        self._custom = client.CustomObjectsApi(api_client)
        self._core = client.CoreV1Api(api_client)
        self._identity = identity
        self._profiles = resource(spo.GROUP_VERSION, spo.SECCOMP_PROFILES)
        self._statuses = resource(spo.GROUP_VERSION, spo.NODE_STATUSES)
        self._bindings = resource(spo.GROUP_VERSION, spo.PROFILE_BINDINGS)

    def write_profile_metadata(self, profile: Profile, finalizers: list[str], labels: dict[str, str]) -> None:
        """Replace the finalizers and add the labels, unless the profile was changed meanwhile (409)."""
        meta: dict[str, Any] = {"finalizers": finalizers, "labels": labels} | _unchanged(profile)
        send(
            self._custom.patch_cluster_custom_object,
            **self._profiles,
            name=profile.metadata.name,
            body={"metadata": meta},
        )

    def write_profile_status(self, profile: Profile, status: ProfileStatus) -> None:
        """Replace the status."""
        body = {"metadata": {"uid": profile.metadata.uid}, "status": _filled(status)}
        send(self._custom.patch_cluster_custom_object_status, **self._profiles, name=profile.metadata.name, body=body)

    def write_binding_finalizers(self, binding: Binding, finalizers: list[str]) -> None:
        """Replace the finalizers, unless the binding was changed meanwhile (409)."""
        send(
            self._custom.patch_namespaced_custom_object,
            **self._bindings,
            namespace=binding.metadata.namespace,
            name=binding.metadata.name,
            body={"metadata": {"finalizers": finalizers} | _unchanged(binding)},
        )

    def write_binding_status(self, binding: Binding, status: BindingStatus) -> None:
        """Replace the status."""
        send(
            self._custom.patch_namespaced_custom_object_status,
            **self._bindings,
            namespace=binding.metadata.namespace,
            name=binding.metadata.name,
            body={"metadata": {"uid": binding.metadata.uid}, "status": _filled(status)},
        )

    def delete_node_status(self, status: NodeStatus) -> None:
        """Delete what a node that is gone has said; if it is gone already, so much the better."""
        options = {"preconditions": {"uid": status.metadata.uid}}
        try:
            send(
                self._custom.delete_cluster_custom_object,
                **self._statuses,
                name=status.metadata.name,
                body=options,
            )
        except ApiError as error:
            if error.status != 404:
                raise

    def node_exists(self, name: str) -> bool:
        """Whether there is such a node, now."""
        return found(self._core.read_node, Node, name=name) is not None

    def send_event(self, about: Profile | Binding, event: Event) -> None:
        """Send an Event about a profile or a binding. Those about objects without a namespace are in `default`."""
        meta, namespace = about.metadata, about.metadata.namespace or "default"
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        involved = {
            "apiVersion": spo.GROUP_VERSION,
            "kind": KIND if isinstance(about, Profile) else BINDING_KIND,
            "name": meta.name,
            "uid": meta.uid,
            "resourceVersion": meta.resource_version,
        }
        if meta.namespace:
            involved["namespace"] = meta.namespace
        body = {
            "metadata": {"generateName": f"{meta.name[:200]}-", "namespace": namespace},
            "involvedObject": involved,
            "type": event.type,
            "reason": event.reason,
            "message": event.message[:_MOST_MESSAGE],
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "source": {"component": _COMPONENT},
            "reportingComponent": _COMPONENT,
            "reportingInstance": self._identity,
        }
        send(self._core.create_namespaced_event, namespace=namespace, body=body)


def _unchanged(obj: Profile | Binding) -> dict[str, str]:
    # In a merge patch the version is a precondition (API conventions, "Concurrency Control").
    return {"uid": obj.metadata.uid, "resourceVersion": obj.metadata.resource_version}


def _filled(status: ProfileStatus | BindingStatus) -> dict[str, Any]:
    """With the lists that are empty as well: a merge patch leaves alone what it does not name."""
    written: dict[str, Any] = {"activeWorkloads": []} | msgspec.to_builtins(status)
    return written
