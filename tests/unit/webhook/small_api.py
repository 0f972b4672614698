"""The API's objects in memory, behind the client's interface: versions, conflicts, patches with tests, watches."""

import base64
import copy
import json
import re
import threading
from collections.abc import Iterator
from typing import Any, TypeVar

import jsonpatch
import msgspec

from exectrail.k8s.client import ApiError, Client, Event, Page

T = TypeVar("T")


_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
"""As the API server has it in its answer; it allows 253 characters."""


def _validate(service_path: str) -> None:
    for number, part in enumerate(service_path.split("/")[1:]):
        if not _SUBDOMAIN.fullmatch(part) or len(part) > 253:
            message = f"segment[{number}]: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric"
            raise ApiError(422, "Invalid", message)


class SmallApi(Client):
    """A client and its API server in one. Objects by their paths."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.version = 1
        self.changed = threading.Condition()
        self.refuse: dict[str, int] = {}
        """Methods that fail for now, with which status."""
        self.events: list[tuple[int, str, str, dict[str, Any]]] = []

    def put(self, path: str, obj: dict[str, Any]) -> None:
        """Create or change an object, as anybody may."""
        with self.changed:
            self.version += 1
            fresh = copy.deepcopy(obj)
            meta = fresh.setdefault("metadata", {})
            meta |= {"name": path.rpartition("/")[2], "resourceVersion": str(self.version)}
            self.objects[path] = fresh
            self.events.append((self.version, "MODIFIED", path, fresh))
            self.changed.notify_all()

    def remove(self, path: str) -> None:
        """Delete an object."""
        with self.changed:
            self.version += 1
            self.events.append((self.version, "DELETED", path, self.objects.pop(path)))
            self.changed.notify_all()

    def data(self, path: str) -> dict[str, bytes]:
        """What a Secret holds."""
        with self.changed:
            return {key: base64.b64decode(text) for key, text in self.objects[path].get("data", {}).items()}

    def get(self, path: str, kind: type[T], seconds: float | None = None) -> T:
        with self.changed:
            self._may("get")
            if path not in self.objects:
                raise ApiError(404, "NotFound", f"{path} not found")
            return msgspec.convert(self.objects[path], kind, strict=False)

    def patch(self, path: str, merge: dict[str, Any]) -> None:
        with self.changed:
            self._may("patch")
            obj = copy.deepcopy(self.objects[path])
            asked = merge.get("metadata", {}).get("resourceVersion")
            if asked not in {None, obj["metadata"]["resourceVersion"]}:
                raise ApiError(409, "Conflict", "the object has been modified")
            for key, value in merge.items():
                obj[key] = {**obj.get(key, {}), **value} if isinstance(value, dict) else value
            self.put(path, obj)

    def json_patch(self, path: str, steps: list[dict[str, Any]]) -> None:
        with self.changed:
            self._may("json_patch")
            try:
                changed = jsonpatch.apply_patch(self.objects[path], json.loads(json.dumps(steps)))
            except jsonpatch.JsonPatchTestFailed as error:
                raise ApiError(422, "Invalid", "a test of the patch failed") from error
            for each in changed.get("webhooks", ()):
                _validate(each["clientConfig"].get("service", {}).get("path", ""))
            self.put(path, changed)

    def pages(
        self, path: str, kind: type[T], *, metadata_only: bool = False, few: bool = False, **selectors: str
    ) -> Iterator[Page[T]]:
        with self.changed:
            self._may("list")
            named = self._selected(path, selectors)
            items = [msgspec.convert(obj, kind, strict=False) for at, obj in self.objects.items() if at == named]
            version = str(self.version)
        yield Page(iter(items), version)

    def watch(
        self,
        path: str,
        kind: type[T],
        resource_version: str,
        seconds: int,
        *,
        metadata_only: bool = False,
        **selectors: str,
    ) -> Iterator[Event[T]]:
        at, named = int(resource_version), self._selected(path, selectors)
        while True:
            with self.changed:
                while self.version <= at:
                    self.changed.wait()
                news, at = [each for each in self.events if each[0] > at and each[2] == named], self.version
            for version, what, _, obj in news:
                yield Event(what, msgspec.convert(obj, kind, strict=False), str(version))  # type: ignore[arg-type]

    def _may(self, method: str) -> None:
        if status := self.refuse.get(method):
            raise ApiError(status, "Refused", f"{method} is refused")

    @staticmethod
    def _selected(path: str, selectors: dict[str, str]) -> str:
        return f"{path}/{selectors['fieldSelector'].removeprefix('metadata.name=')}"
