"""Keeps the status of all SeccompProfiles and ProfileBindings as profiles, nodes and pods are.

Everything is known from watches. A change puts what it concerns into a queue, and one thread looks at each thing as it
is by then: nothing depends on having seen a change, so a new leader only looks at everything once.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal, Protocol

from exectrail.contracts import spo
from exectrail.contracts.pod_profiles import files_of
from exectrail.k8s.client import ApiError, Client
from exectrail.k8s.mirror import Mirror
from profiles.controller import binding_status, profile_metrics, profile_status
from profiles.controller.lease import NotLeadingError
from profiles.controller.objects import (
    KIND,
    Binding,
    BindingStatus,
    Node,
    NodeStatus,
    Pod,
    Profile,
    ProfileStatus,
    needed,
)
from profiles.controller.profile_status import IN_USE, Event
from profiles.controller.usage import Usage
from profiles.controller.work_queue import WorkQueue

PROFILES_PATH = f"/apis/{spo.GROUP_VERSION}/{spo.SECCOMP_PROFILES}"

_PAUSE = 0.1
_LOOK_AGAIN = 300.0
"""Seconds until everything is looked at again, changed or not: others write these objects, too."""
_SAY_AGAIN = 3600.0
"""Seconds after which a binding's problem is worth another Event: the API server has dropped the last one by then."""
_SERVED_AGAIN = 30.0
_OVERTAKEN = {404, 409}  # deleted or written by others since it was read; the watch tells

Key = tuple[Literal["profile", "binding", "node-status"], str]

log = logging.getLogger(__name__)


class Writes(Protocol):
    """What is written; every failure is an `ApiError`."""

    def write_profile_metadata(self, profile: Profile, finalizers: list[str], labels: dict[str, str]) -> None:
        """Replace the finalizers and add the labels, unless the profile was changed meanwhile (409)."""

    def write_profile_status(self, profile: Profile, status: ProfileStatus) -> None:
        """Replace the status."""

    def write_binding_finalizers(self, binding: Binding, finalizers: list[str]) -> None:
        """Replace the finalizers, unless the binding was changed meanwhile (409)."""

    def write_binding_status(self, binding: Binding, status: BindingStatus) -> None:
        """Replace the status."""

    def delete_node_status(self, status: NodeStatus) -> None:
        """Delete what a node that is gone has said."""

    def send_event(self, about: Profile | Binding, event: Event) -> None:
        """Send an Event about a profile or a binding."""

    def node_exists(self, name: str) -> bool:
        """Whether there is such a node, now."""


class Profiles:
    """Follows profiles, bindings, nodes and pods, once the API serves SeccompProfiles.

    Args:
        client: Where to watch.
        writes: How to write.
        namespace: Of the release.
        daemonset: The installer's: the nodes that have a pod of it are those that count.
        leading: Whether this replica may write; asked before each write.
        alive: Called at every step, for the liveness probe.

    """

    def __init__(
        self,
        client: Client,
        writes: Writes,
        namespace: str,
        daemonset: str,
        leading: Callable[[], bool],
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self.served = threading.Event()
        """Set once the API serves SeccompProfiles."""
        self._client, self._writes, self._leading, self._alive = client, writes, leading, alive
        self._usage = Usage(namespace, daemonset)
        self._queue: WorkQueue[Key] = WorkQueue(_PAUSE)
        self._said: dict[str, dict[str, NodeStatus]] = defaultdict(dict)
        self._said_lock = threading.Lock()
        self._problems: dict[str, tuple[str, Event, float]] = {}
        """Of the last Event about a binding: the binding's UID, what it said, and until when that is enough."""
        base = f"/apis/{spo.GROUP_VERSION}"
        self._profiles = Mirror(client, PROFILES_PATH, Profile, self._profile_changed)
        self._bindings = Mirror(client, f"{base}/{spo.PROFILE_BINDINGS}", Binding, self._binding_changed)
        self._statuses = Mirror(client, f"{base}/{spo.NODE_STATUSES}", NodeStatus, self._status_changed)
        self._pods = Mirror(client, "/api/v1/pods", Pod, self._pod_changed, needed)
        self._nodes = Mirror(client, "/api/v1/nodes", Node, self._node_changed, metadata_only=True)
        self._mirrors = (self._profiles, self._bindings, self._statuses, self._pods, self._nodes)

    def run(self, stop: threading.Event) -> None:
        """Work until stopped."""
        if not self._await_served(stop):
            return
        for mirror in self._mirrors:
            mirror.start()
        look_again = 0.0
        while not stop.is_set():
            self._alive()
            key = self._queue.take(1.0)
            if not self._leading():
                look_again = 0.0  # what is dropped meanwhile is found again when this replica leads
                continue
            if not all(mirror.synced.is_set() for mirror in self._mirrors):
                continue
            if key:
                self._look(key)
            if time.monotonic() >= look_again:
                self._queue_all()
                look_again = time.monotonic() + _LOOK_AGAIN
        for mirror in self._mirrors:
            mirror.stop()

    def _await_served(self, stop: threading.Event) -> bool:
        """Wait until the API serves SeccompProfiles; False when it is to stop before."""
        reported = False
        while not stop.is_set():
            self._alive()
            try:
                next(self._client.pages(PROFILES_PATH, Profile))
            except ApiError as error:
                if not reported:
                    log.info("the status of SeccompProfiles is not kept: the API does not serve them (%s)", error)
                    reported = True
            else:
                self.served.set()
                return True
            stop.wait(_SERVED_AGAIN)
        return False

    # ---- what a change concerns; in the mirrors' threads ----

    def _profile_changed(self, old: Profile | None, new: Profile | None) -> None:
        profile = new or old
        if profile is None:
            return
        self._queue.add(("profile", profile.metadata.name))
        if (old and (old.status.status, old.status.binds)) != (new and (new.status.status, new.status.binds)):
            for key, binding in dict(self._bindings.objects).items():
                if binding.spec.profile_ref.name == profile.metadata.name:
                    self._queue.add(("binding", key))

    def _binding_changed(self, old: Binding | None, new: Binding | None) -> None:
        if binding := new or old:
            self._queue.add(("binding", f"{binding.metadata.namespace}/{binding.metadata.name}"))

    def _status_changed(self, old: NodeStatus | None, new: NodeStatus | None) -> None:
        with self._said_lock:
            for status, there in ((old, False), (new, True)):
                if status is None:
                    continue
                said = self._said[_profile_id(status)]
                if there:
                    said[status.metadata.name] = status
                else:
                    said.pop(status.metadata.name, None)
        for profile in {profile for status in (old, new) if status for profile in self._profiles_of(status)}:
            self._queue.add(("profile", profile))
        if new and self._nodes.synced.is_set() and new.spec.node_name not in self._nodes.objects:
            self._queue.add(("node-status", new.metadata.name))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        files, nodes_changed = self._usage.update(old, new)
        for file in files:
            for name in (file, file.removesuffix(".json")):  # either may be the profile's name
                self._queue.add(("profile", name))
        pod = new or old
        if pod and (files or files_of(pod)):
            self._queue_bindings(f"{pod.metadata.namespace}/")
        if nodes_changed:
            self._queue_profiles()

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if old and new:
            return
        self._queue_profiles()
        if old:
            for name, status in dict(self._statuses.objects).items():
                if status.spec.node_name == old.metadata.name:
                    self._queue.add(("node-status", name))

    def _queue_profiles(self) -> None:
        for name in list(self._profiles.objects):
            self._queue.add(("profile", name))

    def _queue_bindings(self, prefix: str = "") -> None:
        for key in list(self._bindings.objects):
            if key.startswith(prefix):
                self._queue.add(("binding", key))

    def _queue_all(self) -> None:
        self._queue_profiles()
        self._queue_bindings()
        for name, status in dict(self._statuses.objects).items():
            if status.spec.node_name not in self._nodes.objects:
                self._queue.add(("node-status", name))

    def _profiles_of(self, status: NodeStatus) -> list[str]:
        owners = [owner.name for owner in status.metadata.owner_references if owner.kind == KIND]
        return owners or [status.metadata.name.removesuffix(f"-{status.spec.node_name}")]

    # ---- what follows from it; in the thread of `run` ----

    def _look(self, key: Key) -> None:
        kind, name = key
        looks = {"profile": self._look_at_profile, "binding": self._look_at_binding}
        try:
            looks.get(kind, self._look_at_status)(name)
        except NotLeadingError:
            self._queue.add(key)
        except ApiError as error:
            seconds = self._queue.failed(key)
            level = logging.DEBUG if error.status in _OVERTAKEN else logging.WARNING
            log.log(level, "cannot keep the %s %s up to date: %s; next try in %.1f s", kind, name, error, seconds)
        else:
            self._queue.succeeded(key)

    def _look_at_profile(self, name: str) -> None:
        profile = self._profiles.objects.get(name)
        if profile is None:
            return
        with self._said_lock:
            found = list(self._said.get(spo.profile_id(KIND, name), {}).values())
        said = [each for each in found if each.spec.node_name in self._nodes.objects]
        nodes = self._usage.nodes() & self._nodes.objects.keys()
        users = self._usage.users(spo.profile_file(name))
        decision = profile_status.decide(profile, said, nodes, users, datetime.now(UTC))
        labels, finalizers = dict(decision.labels), decision.finalizers
        if finalizers != profile.metadata.finalizers or not labels.items() <= profile.metadata.labels.items():
            self._check_leading()
            self._writes.write_profile_metadata(profile, finalizers, labels)
        if decision.released(profile):
            profile_metrics.PROFILES.labels("delete").inc()
            return
        if decision.status != profile.status:
            self._check_leading()
            self._writes.write_profile_status(profile, decision.status)
            self._tell(profile, decision)

    def _tell(self, profile: Profile, decision: profile_status.Decision) -> None:
        if decision.status.status == "Installed" != profile.status.status:
            profile_metrics.PROFILES.labels("update").inc()
        for event in decision.events:
            if event.reason != IN_USE:
                profile_metrics.ERRORS.labels(event.reason).inc()
            try:
                self._writes.send_event(profile, event)
            except ApiError as error:  # the status has it all; a second try would find nothing new to tell
                log.warning("cannot send the Event %s of profile %s: %s", event.reason, profile.metadata.name, error)

    def _look_at_binding(self, key: str) -> None:
        binding = self._bindings.objects.get(key)
        if binding is None:
            self._problems.pop(key, None)
            return
        finalizers = binding_status.finalizers(binding)
        if finalizers != binding.metadata.finalizers:
            self._check_leading()
            self._writes.write_binding_finalizers(binding, finalizers)
            if not finalizers:
                return
        status = binding_status.status(binding, self._pods_of(binding.metadata.namespace))
        if status != binding.status:
            self._check_leading()
            self._writes.write_binding_status(binding, status)
        self._tell_problem(key, binding)

    def _tell_problem(self, key: str, binding: Binding) -> None:
        """Send an Event about what is wrong with a binding, once: its status has no room for it."""
        event = binding_status.problem(binding, self._profiles.objects.get(binding.spec.profile_ref.name))
        if event is None:
            self._problems.pop(key, None)
            return
        uid, said, enough_until = self._problems.get(key, ("", None, 0.0))
        if (uid, said) == (binding.metadata.uid, event) and time.monotonic() < enough_until:
            return
        self._check_leading()
        self._writes.send_event(binding, event)
        self._problems[key] = (binding.metadata.uid, event, time.monotonic() + _SAY_AGAIN)

    def _look_at_status(self, name: str) -> None:
        status = self._statuses.objects.get(name)
        if status is None or status.spec.node_name in self._nodes.objects or not _is_of_profile(status):
            return
        # The mirror may not show a new node yet.
        if not status.spec.node_name or self._writes.node_exists(status.spec.node_name):
            return
        self._check_leading()
        self._writes.delete_node_status(status)

    def _pods_of(self, namespace: str) -> list[Pod]:
        found = (self._pods.objects.get(key) for key in self._usage.in_namespace(namespace))
        return [pod for pod in found if pod]

    def _check_leading(self) -> None:
        if not self._leading():
            raise NotLeadingError


def _profile_id(status: NodeStatus) -> str:
    return status.metadata.labels.get(spo.PROFILE_ID_LABEL, "")


def _is_of_profile(status: NodeStatus) -> bool:
    kinds = {owner.kind for owner in status.metadata.owner_references}
    return status.metadata.labels.get(spo.PROFILE_KIND_LABEL) == KIND or KIND in kinds
