"""A cluster in memory: collections that are listed and watched like the API's, and the controller's writes to them."""

import copy
import itertools
import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import msgspec

from exectrail.contracts import spo
from exectrail.k8s.client import ApiError, Event, Page
from profiles.controller import profile_status
from profiles.controller.objects import Binding, BindingStatus, NodeStatus, Profile, ProfileStatus

BASE = f"/apis/{spo.GROUP_VERSION}"
PROFILES = f"{BASE}/{spo.SECCOMP_PROFILES}"
BINDINGS = f"{BASE}/{spo.PROFILE_BINDINGS}"
STATUSES = f"{BASE}/{spo.NODE_STATUSES}"
PODS = "/api/v1/pods"
NODES = "/api/v1/nodes"

Stored = dict[str, Any]


class FakeCluster:
    """Stands in for the lean client, which watches, and for `ProfileApi`, which writes."""

    def __init__(self) -> None:
        self.served = True
        self.events: list[profile_status.Event] = []
        self.binding_events: list[profile_status.Event] = []
        self.writes = 0
        self.refusals: list[ApiError] = []
        """What the next writes fail with."""
        self._objects: dict[str, dict[str, Stored]] = defaultdict(dict)
        self._log: dict[str, list[tuple[str, Stored]]] = defaultdict(list)
        self._changed = threading.Condition()
        self._ended = False
        self._uids = itertools.count(1)

    # ---- what tests do ----

    def put(self, path: str, name: str, namespace: str = "", **rest: Any) -> None:
        """Create or change an object; `metadata` is added to what it has."""
        with self._changed:
            key = f"{namespace}/{name}" if namespace else name
            old = self._objects[path].get(key)
            meta = {"name": name, "namespace": namespace, "uid": f"uid-{next(self._uids)}", "generation": 1}
            meta |= old["metadata"] if old else {}
            meta |= rest.pop("metadata", {})
            self._store(path, key, {**(old or {}), **rest, "metadata": meta})

    def create(self, path: str, name: str, namespace: str, **rest: Any) -> None:
        """Create an object; one that is there stays as it is."""
        with self._changed:
            if f"{namespace}/{name}" not in self._objects[path]:
                self.put(path, name, namespace, **rest)

    def delete(self, path: str, key: str) -> None:
        """Delete an object, once its finalizers are gone."""
        with self._changed:
            obj = copy.deepcopy(self._objects[path][key])
            obj["metadata"]["deletionTimestamp"] = "2026-11-29T01:00:00Z"
            self._store(path, key, obj)

    def get(self, path: str, key: str) -> Stored | None:
        """An object as it is."""
        with self._changed:
            return copy.deepcopy(self._objects[path].get(key))

    def end(self) -> None:
        """End all watches."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    # ---- the lean client ----

    def pages(
        self, path: str, kind: type, *, metadata_only: bool = False, few: bool = False, **selectors: str
    ) -> Iterator[Page[Any]]:
        if not self.served:
            raise ApiError(404, "NotFound", "not served")
        with self._changed:
            every = [obj for obj in self._objects[path].values() if _selected(obj, **selectors)]
            items: list[Any] = [msgspec.convert(obj, kind) for obj in every]
            yield Page(iter(items), str(len(self._log[path])))

    def watch(
        self,
        path: str,
        kind: type,
        resource_version: str,
        seconds: int,
        *,
        metadata_only: bool = False,
        **selectors: str,
    ) -> Iterator[Event[Any]]:
        at = int(resource_version)
        while True:
            with self._changed:
                while not self._ended and len(self._log[path]) <= at:
                    self._changed.wait()
                if self._ended:
                    return
                type_, obj = self._log[path][at]
            at += 1
            if not _selected(obj, **selectors):
                continue
            yield Event(type_, msgspec.convert(obj, kind), str(at))  # type: ignore[arg-type]

    # ---- the writes ----

    def write_profile_metadata(self, profile: Profile, finalizers: list[str], labels: dict[str, str]) -> None:
        with self._write(PROFILES, profile.metadata.name, profile.metadata.uid) as obj:
            if obj["metadata"]["resourceVersion"] != profile.metadata.resource_version:
                raise ApiError(409, "Conflict", "it was modified")
            obj["metadata"]["finalizers"] = finalizers
            obj["metadata"]["labels"] = obj["metadata"].get("labels", {}) | labels

    def write_profile_status(self, profile: Profile, status: ProfileStatus) -> None:
        with self._write(PROFILES, profile.metadata.name, profile.metadata.uid) as obj:
            obj["status"] = msgspec.to_builtins(status)

    def write_binding_finalizers(self, binding: Binding, finalizers: list[str]) -> None:
        key = f"{binding.metadata.namespace}/{binding.metadata.name}"
        with self._write(BINDINGS, key, binding.metadata.uid) as obj:
            obj["metadata"]["finalizers"] = finalizers

    def write_binding_status(self, binding: Binding, status: BindingStatus) -> None:
        key = f"{binding.metadata.namespace}/{binding.metadata.name}"
        with self._write(BINDINGS, key, binding.metadata.uid) as obj:
            obj["status"] = msgspec.to_builtins(status)

    def delete_node_status(self, status: NodeStatus) -> None:
        self.delete(STATUSES, status.metadata.name)

    def node_exists(self, name: str) -> bool:
        return self.get(NODES, name) is not None

    def send_event(self, about: Profile | Binding, event: profile_status.Event) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        (self.events if isinstance(about, Profile) else self.binding_events).append(event)

    def _write(self, path: str, key: str, uid: str) -> "_Writing":
        return _Writing(self, path, key, uid)

    def _store(self, path: str, key: str, obj: Stored) -> None:
        version = str(len(self._log[path]) + 1)
        obj["metadata"] = {**obj["metadata"], "resourceVersion": version}
        there = key in self._objects[path]
        if obj["metadata"].get("deletionTimestamp") and not obj["metadata"].get("finalizers"):
            self._objects[path].pop(key, None)
            self._log[path].append(("DELETED", obj))
        else:
            self._objects[path][key] = obj
            self._log[path].append(("MODIFIED" if there else "ADDED", obj))
        self._changed.notify_all()


def _selected(obj: Stored, **selectors: str) -> bool:
    """By `metadata.name`; any other selector selects all."""
    field, _, name = selectors.get("fieldSelector", "").partition("=")
    return field != "metadata.name" or obj["metadata"]["name"] == name


class _Writing:
    """One write: the object as it is, to be changed; stored at the end."""

    def __init__(self, cluster: FakeCluster, path: str, key: str, uid: str) -> None:
        self._cluster, self._path, self._key, self._uid = cluster, path, key, uid

    def __enter__(self) -> Stored:
        if self._cluster.refusals:
            raise self._cluster.refusals.pop(0)
        self._cluster.writes += 1
        found = self._cluster.get(self._path, self._key)
        if found is None:
            raise ApiError(404, "NotFound", "it is gone")
        if found["metadata"]["uid"] != self._uid:
            raise ApiError(409, "Conflict", "it is another one")
        self._obj = found
        return found

    def __exit__(self, failed: object, *_: object) -> None:
        if failed is None:
            with self._cluster._changed:
                self._cluster._store(self._path, self._key, self._obj)
