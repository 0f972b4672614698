"""Policies out of manifests: Namespaces, ProfileBindings and SeccompProfiles, as users keep them in files.

A SeccompProfile without a status counts as installed, unless it says otherwise itself: manifests have no status.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import Struct

from exectrail.contracts import spo
from exectrail.contracts.meta import ObjectMeta
from exectrail.seccomp.withheld import Switch, withheld
from webhook.reviews.profile_bindings import (
    Binding,
    Policies,
    ProfileBinding,
    ProfileStatus,
    SeccompProfile,
    binding_of,
    in_order,
)


class BadObjects(Exception):
    """A file that has no manifests, or one of them lacks what it needs; the message names it."""


class Objects(Struct, frozen=True):
    """What the files say."""

    namespaces: dict[str, dict[str, str]] = {}
    """Labels by name."""
    bindings: dict[str, list[Binding]] = {}
    """By namespace."""
    profiles: dict[str, SeccompProfile] = {}

    def policies(self, namespace: str, *, allow_unconfined: bool = False) -> Policies:
        """What a namespace wants for its new pods."""
        labels, bindings = self.namespaces.get(namespace), in_order(self.bindings.get(namespace, []))
        return Policies(labels, bindings, self.profiles, allow_unconfined)


class _Namespace(Struct, frozen=True):
    metadata: ObjectMeta


class _Profile(Struct, frozen=True):
    metadata: ObjectMeta
    spec: Switch = Switch()
    status: ProfileStatus | None = None


def read(file: Path) -> Objects:
    """The objects in a YAML file; it may have several documents, and Lists. Other kinds are left out.

    Raises:
        BadObjects: It cannot be read.

    """
    objects = Objects({}, {}, {})
    try:
        documents = list(yaml.safe_load_all(file.read_text()))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise BadObjects(f"{file}: {error}") from error
    for number, manifest in enumerate(_manifests(documents), 1):
        if not isinstance(manifest, dict):
            raise BadObjects(f"{file}: document {number}: expected an object of the API, got {manifest!r:.60}")
        try:
            _take(manifest, objects)
        except (msgspec.ValidationError, BadObjects) as error:
            name = (manifest.get("metadata") or {}).get("name") if isinstance(manifest.get("metadata"), dict) else None
            raise BadObjects(f"{file}: {manifest.get('kind')} {name!r:.80}: {error}") from error
    return objects


def _manifests(documents: list[Any]) -> Iterator[Any]:
    for each in documents:
        if (
            isinstance(each, dict)
            and str(each.get("kind", "")).endswith("List")
            and isinstance(each.get("items"), list)
        ):
            yield from each["items"]
        elif each is not None:
            yield each


def _take(manifest: dict[str, Any], objects: Objects) -> None:
    group = str(manifest.get("apiVersion", "")).rpartition("/")[0]
    match group, manifest.get("kind"):
        case "", "Namespace":
            namespace = msgspec.convert(manifest, _Namespace).metadata
            # The API server adds this one.
            objects.namespaces[_named(namespace)] = namespace.labels | {"kubernetes.io/metadata.name": namespace.name}
        case spo.GROUP, "ProfileBinding":
            found = msgspec.convert(manifest, ProfileBinding)
            _named(found.metadata)
            if not found.metadata.namespace:
                raise BadObjects("metadata.namespace is missing: say where it applies")
            if (binding := binding_of(found)) is None:
                raise BadObjects("spec.image and spec.profileRef.name are required")
            objects.bindings.setdefault(found.metadata.namespace, []).append(binding)
        case spo.GROUP, "SeccompProfile":
            profile = msgspec.convert(manifest, _Profile)
            name = _named(profile.metadata)
            status = profile.status or ProfileStatus(
                withheld(profile.spec, profile.metadata.labels) or "Installed", spo.localhost_profile(name)
            )
            objects.profiles[name] = SeccompProfile(ObjectMeta(name=name), status)


def _named(metadata: ObjectMeta) -> str:
    if not metadata.name:
        raise BadObjects("metadata.name is missing")
    return metadata.name
