"""A live copy of a collection of the API: list, then watch, for ever, without ever blocking its readers.

Readers look into a plain dict from any thread. While the API server is away they see the last known state; the
mirror retries with backoff and jitter and recovers by itself, whatever went wrong. An expired resource version (410)
lists again.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from exectrail.k8s.client import ApiError, Client
from exectrail.service.backoff import Backoff

_BACKOFF_FIRST, _BACKOFF_MOST = 0.2, 10.0
_WATCH_SECONDS = 300
_SHORTEST_WATCH = 1.0
_MISSING_SECONDS = 10.0
_ASK_AGAIN = 30.0
"""Seconds between two looks at what is to be kept of all objects. Changes bring it on: without any, nothing grows."""

log = logging.getLogger(__name__)


class Named(Protocol):
    """An object's metadata, as far as it is used here."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def namespace(self) -> str:
        """Its namespace; empty where it is of the cluster."""


class HasMetadata(Protocol):
    """Any object of the API."""

    @property
    def metadata(self) -> Named:
        """What it is called."""


O = TypeVar("O", bound=HasMetadata)  # noqa: E741 - an object of the API


class Mirror(Generic[O]):
    """The objects of one collection by `namespace/name` (`name` where cluster-scoped).

    Args:
        client: Where to ask.
        path: The collection, e.g. `/api/v1/namespaces`.
        kind: What to decode each object into.
        on_change: Called in the mirror's thread with each object that came or changed, and with its old and `None`
            when it went: `on_change(old, new)`.
        keep: What to keep of an object: the object itself, or what stands in for it where it is not needed any more.
            Called in the mirror's thread when one comes or changes, and now and then with each that is kept.
        older: The same collection in older versions of its API, to be looked for in this order where `path` is not
            served (404).
        optional: Whether the cluster may lack the collection (404), because its CRD comes later or goes. It has no
            objects then, and the mirror looks for it again now and then.
        metadata_only: Whether the API server is to send no more than the metadata of each object.
        few: Whether the selectors leave few of many (`Client.pages`).
        selectors: `fieldSelector` and `labelSelector`.

    """

    def __init__(
        self,
        client: Client,
        path: str,
        kind: type[O],
        on_change: Callable[[O | None, O | None], None] | None = None,
        keep: Callable[[O], O] | None = None,
        *,
        older: Sequence[str] = (),
        optional: bool = False,
        metadata_only: bool = False,
        few: bool = False,
        **selectors: str,
    ) -> None:
        self.objects: dict[str, O] = {}
        self.synced = threading.Event()
        """Set once the first list is in."""
        self.failures = 0
        """Requests that failed since the start."""
        self.resource = path.rpartition("/")[2]
        """What the collection is of, e.g. `namespaces`."""
        self._client, self._paths, self._path, self._kind = client, (path, *older), path, kind
        self._on_change, self._keep, self._selectors = on_change, keep, selectors
        self._optional, self._missing, self._metadata_only = optional, False, metadata_only
        self._few = few
        self._ask_again_at = 0.0
        self._heard_at = time.monotonic()
        self._stop, self._hurry = threading.Event(), threading.Event()

    def start(self) -> None:
        """Mirror in a thread of its own, which ends with the process."""
        threading.Thread(target=self.run, name=f"mirror {self._path}", daemon=True).start()

    def stop(self) -> None:
        """End the mirror at the next event or retry."""
        self._stop.set()
        self._hurry.set()

    def hurry(self) -> None:
        """Have it try again at once, where it waits after a failure: a caller needs what it lacks."""
        self._hurry.set()

    def age(self) -> float:
        """Seconds since the API server last sent anything, at first since the start; about a minute where all is well.

        It sends a bookmark about once a minute where nothing changes.
        """
        return time.monotonic() - self._heard_at

    def run(self) -> None:
        """List and watch until stopped."""
        backoff = Backoff(_BACKOFF_FIRST, _BACKOFF_MOST)
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                version = self._list()
                self._missing = False
                self._follow(version)
                continue
            except ApiError as error:
                if error.status == 404 and self._optional:
                    self._is_missing()
                    self._stop.wait(_MISSING_SECONDS)
                    continue
                self.failures += error.status != 410  # an expired version is no failure
                log.warning("cannot watch %s: %s; next try in at most %.1f s", self._path, error, backoff.bound)
            except Exception:  # a copy that is no longer kept up would go on being believed
                self.failures += 1
                log.exception("fault while watching %s; next try in at most %.1f s", self._path, backoff.bound)
            # A watch that held for a while ended by accident: only quick failures in a row back off.
            if time.monotonic() - began > _BACKOFF_MOST:
                backoff.reset()
            self._pause(backoff.next())

    def _pause(self, seconds: float) -> None:
        self._hurry.clear()
        # Not less, however many are in a hurry: the server may be away.
        if not self._stop.wait(min(seconds, _BACKOFF_FIRST)):
            self._hurry.wait(seconds - _BACKOFF_FIRST)

    def _is_missing(self) -> None:
        self._heard_at = time.monotonic()
        if not self._missing:
            self._missing = True
            log.info("the cluster has no %s; looking again every %.0f s", self._path, _MISSING_SECONDS)
        for key in list(self.objects):
            self._set(key, None)
        self.synced.set()

    def _list(self) -> str:
        *newer, last = self._paths
        for path in newer:
            try:
                return self._list_at(path)
            except ApiError as error:
                if error.status != 404:
                    raise
        return self._list_at(last)

    def _list_at(self, path: str) -> str:
        self._path = path
        gone, version = set(self.objects), ""
        asked = self._client.pages(
            self._path, self._kind, metadata_only=self._metadata_only, few=self._few, **self._selectors
        )
        for page in asked:
            self._heard_at = time.monotonic()
            for item in page.items:
                key = _key(item.metadata)
                gone.discard(key)
                self._set(key, self._kept(item))
            version = page.resource_version
        for key in gone:
            self._set(key, None)
        self.synced.set()
        return version

    def _follow(self, version: str) -> None:
        while not self._stop.is_set():
            seconds = int(_WATCH_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - spreads the nodes' load
            began, before = time.monotonic(), version
            events = self._client.watch(
                self._path, self._kind, version, seconds, metadata_only=self._metadata_only, **self._selectors
            )
            for event in events:
                version = event.resource_version
                self._heard_at = time.monotonic()
                if event.object is not None:
                    key = _key(event.object.metadata)
                    self._set(key, None if event.type == "DELETED" else self._kept(event.object))
                self._keep_less()
                if self._stop.is_set():
                    return
            if version == before and time.monotonic() - began < _SHORTEST_WATCH:
                # A proxy, or a server that is ending: without a pause this would be a flood of requests.
                raise ApiError(0, "", "the watch ended at once")

    def _kept(self, item: O) -> O:
        if self._keep is None:
            return item
        try:
            return self._keep(item)
        except Exception:  # as below
            log.exception("kept whole after a fault: %s in %s", item.metadata.name, self._path)
            return item

    def _keep_less(self) -> None:
        """Ask anew what is to be kept of each: time alone may have made it less."""
        now = time.monotonic()
        if self._keep is None or now < self._ask_again_at:
            return
        self._ask_again_at = now + _ASK_AGAIN
        less = [(key, kept) for key, item in self.objects.items() if (kept := self._kept(item)) is not item]
        for key, kept in less:
            self._set(key, kept)

    def _set(self, key: str, new: O | None) -> None:
        old = self.objects.get(key)
        if new is None:
            self.objects.pop(key, None)
        else:
            self.objects[key] = new
        if self._on_change and (old is not None or new is not None):
            try:
                self._on_change(old, new)
            except Exception:  # one object's fault must not end the mirror for all others
                log.exception("fault while handling a change in %s", self._path)


def _key(meta: Named) -> str:
    return f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name
