"""Keeps the Security Profiles Operator's configuration object, `spod` in the release's namespace, and obeys it.

Guides patch that object, so there must be one: it is made empty where there is none. What running parts can follow is
written into a ConfigMap that they have as files; the status says what becomes of every field.
"""

import logging
import operator
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol, TypeVar

from exectrail.contracts import spo
from exectrail.k8s.client import ApiError, Client
from exectrail.k8s.mirror import HasMetadata, Mirror
from exectrail.service.backoff import Backoff
from profiles.controller import spod_settings, spod_state, spod_status
from profiles.controller.spod_settings import ConfigMap, Settings
from profiles.controller.spod_spec import Daemon, DaemonStatus, Values
from profiles.controller.spod_state import DaemonSet

_LOOK_AGAIN = 1.0
_BACKOFF_FIRST, _BACKOFF_MOST = 1.0, 60.0

O = TypeVar("O", bound=HasMetadata)  # noqa: E741 - an object of the API

log = logging.getLogger(__name__)


class Writes(Protocol):
    """What is written; every failure is an `ApiError`."""

    def create(self) -> None:
        """Make the object, empty; that it is there already is fine."""

    def write_status(self, daemon: Daemon, status: DaemonStatus) -> None:
        """Replace the status."""

    def write_settings(self, changes: dict[str, str | None]) -> None:
        """Change keys of the ConfigMap; None removes one."""


class Names(NamedTuple):
    """The objects of the release that this is about."""

    namespace: str
    config_map: str
    """What running parts follow."""
    daemonsets: tuple[str, ...]


class Spod:
    """Follows the object, and what it depends on.

    Args:
        watching: Where to watch.
        writes: What is written.
        names: The release's objects.
        values: What the release was installed with.
        leading: Whether this replica may write.

    """

    def __init__(
        self, watching: Client, writes: Writes, names: Names, values: Values, leading: Callable[[], bool]
    ) -> None:
        self._watching, self._writes, self._names = watching, writes, names
        self._values, self._leading = values, leading
        self._changed = threading.Event()
        config_maps, daemonsets = "/api/v1/{}/configmaps", "/apis/apps/v1/{}/daemonsets"
        self._daemon = self._mirror(f"/apis/{spo.GROUP_VERSION}/{{}}/{spo.DAEMONS}", Daemon, spo.DAEMON)
        self._settings = self._mirror(config_maps, ConfigMap, names.config_map)
        self._log_volume = self._mirror(config_maps, ConfigMap, spo.PROFILE_CONFIG_MAP)
        self._daemonsets = [self._mirror(daemonsets, DaemonSet, name) for name in names.daemonsets]
        self._mirrors: tuple[Mirror[Any], ...] = (self._daemon, self._settings, self._log_volume, *self._daemonsets)

    def run(self, stop: threading.Event) -> None:
        """Work until stopped; to be begun once the API serves the kind."""
        for mirror in self._mirrors:
            mirror.start()
        backoff = Backoff(_BACKOFF_FIRST, _BACKOFF_MOST)
        done: list[object] = []
        while not stop.is_set():
            self._changed.wait(_LOOK_AGAIN)
            self._changed.clear()
            if not all(mirror.synced.is_set() for mirror in self._mirrors) or not self._leading():
                done = []
                continue
            seen = [_one(mirror) for mirror in self._mirrors]
            if done and all(map(operator.is_, seen, done)):
                continue
            try:
                self.look()
                backoff.reset()
                done = seen
            except ApiError as error:
                wait = backoff.next()
                log.warning("cannot do what %s asks for: %s; next try in %.1f s", spo.DAEMON, error, wait)
                stop.wait(wait)
        for mirror in self._mirrors:
            mirror.stop()

    def look(self) -> None:
        """Make the object where there is none, do what it asks, and write its status as it should be.

        Raises:
            ApiError: The API refuses, or is away.

        """
        daemon = _one(self._daemon)
        if daemon is None:
            self._writes.create()
            return
        found = {each.metadata.name: each for each in map(_one, self._daemonsets) if each}
        running = spod_state.state(self._names.daemonsets, found, daemon.status.state)
        settings, refusal = self._hand_on(daemon)
        status = spod_status.status(daemon, self._values, running, settings, _data(self._log_volume), datetime.now(UTC))
        if status != daemon.status:
            self._writes.write_status(daemon, status)
        if refusal:
            raise refusal

    def _hand_on(self, daemon: Daemon) -> tuple[Settings, ApiError | None]:
        """What running parts follow, and why nothing new of it reaches them."""
        before = _data(self._settings)
        settings = spod_settings.asked_for(daemon.spec, before)
        if changes := settings.changes(before):
            try:
                self._writes.write_settings(changes)
            except ApiError as error:
                remedy = ", which `helm upgrade` makes anew" if error.status == 404 else ""
                why = f"ConfigMap {self._names.config_map}{remedy}: {error}"
                return settings.not_written(why), error
            log.info("%s changed what running parts follow: %s", spo.DAEMON, ", ".join(changes))
        return settings, None

    def _mirror(self, path: str, kind: type[O], name: str) -> Mirror[O]:
        """A live copy of one object, by its name: more than that the controller may not see."""
        full = path.format(f"namespaces/{self._names.namespace}")
        return Mirror(self._watching, full, kind, lambda *_: self._changed.set(), fieldSelector=f"metadata.name={name}")


def _one(mirror: Mirror[O]) -> O | None:
    return next(iter(list(mirror.objects.values())), None)


def _data(mirror: Mirror[ConfigMap]) -> Mapping[str, str]:
    found = _one(mirror)
    return (found.data or {}) if found else {}
