"""Which container is this, and is it recorded? Answers from a live copy of the node's pods and the namespaces.

The kubelet reports a container's id a second or more after its start. Its pod is known from the cgroup's path at once,
and so is the container itself, where it is its pod's only one or the node shows its name.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from enricher.containers.expansion import expand
from enricher.containers.pods import (
    CONFIG_HASH,
    CONFIG_MIRROR,
    Namespace,
    Pod,
    containers_of,
    ids_of,
    probe_commands,
    statuses_of,
    variables_of,
)
from enricher.containers.pods import Container as ContainerSpec
from enricher.containers.request_uid import is_uid
from exectrail.contracts.node_debug import Traits, is_node_debug
from exectrail.contracts.profile import LOGGING_FILES
from exectrail.contracts.record import Origin, Resource
from exectrail.contracts.session import TAG_VARIABLE, opted_in


class CgroupRef(Struct, frozen=True, cache_hash=True):
    """Where a cgroup says it is: the container's runtime id and, where the path shows it, the pod's UID."""

    container_id: str = ""
    pod_uid: str | None = None
    sandbox: bool = False
    """Whether it is the pod's sandbox (pause), or else the runtime's own in the pod's cgroup (CRI-O's conmon): the API
    knows nothing of them."""
    inner: bool = False
    """Whether the container made it inside of its own: it comes and goes, and the container stays."""
    on_node: bool = False
    """Whether it is no container at all, but the node outside of all pods."""
    name: str = ""
    """The container's name in its pod, where the node itself shows it; else empty."""


NODE = CgroupRef(on_node=True)
_MOST_ANSWERS = 4096
"""More than a node has containers. Those of cgroups that were never found are not forgotten with any."""


class Container(Struct, frozen=True):
    """A container of this node that is recorded."""

    id: str
    resource: Resource
    image: str
    pod_uid: str
    tag: str | None = None
    """The UID of the request that made it: the variable in the spec of an ephemeral container or a node-debug pod."""
    ephemeral: bool = False
    """Whether a request made it (`kubectl debug`)."""
    debugs: str = ""
    """The node that its pod is to debug; else empty."""
    command: tuple[str, ...] = ()
    """Its command and arguments in the spec, where a request made it: empty where they are the image's."""
    created_ms: int | None = None
    """When its pod was created, in milliseconds since the epoch, like those below: by the API server, in seconds."""
    seen_ms: int | None = None
    """When it was first seen in its pod's spec, if it is ephemeral: it was added then, or before."""
    started_ms: int | None = None
    """When it started, in whole seconds; None before the kubelet reports that."""
    sole: bool = False
    """Whether it is the only one of its pod's `spec.containers`, beside which there may be init and ephemeral ones."""
    logged: bool = False
    """Whether its profile makes the kernel log execve and clone, so that each has a SECCOMP event."""
    kubelet_commands: dict[tuple[str, ...], Origin] = {}
    """The commands that the kubelet runs in it by the pod's spec: probes and hooks."""


class Answer(Struct, frozen=True):
    """What is known of a container as of a version of the table."""

    version: int
    recorded: bool | None = None
    """Whether its processes are recorded; None while its pod or namespace is unknown."""
    container: Container | None = None
    """None while it is not known which of the pod's containers it is."""


class Containers:
    """The node's containers. Fed from the mirrors' threads, read from the pipeline's.

    Args:
        node_debug: Labels of a site's own pods for debugging a node.

    """

    def __init__(self, node_debug: Mapping[str, str] | None = None) -> None:
        self._node_debug = node_debug or {}
        self.version = 0
        """Rises with every change that can alter an answer."""
        self.is_there: Callable[[str], bool] = lambda _id: True
        """Whether a container is on the node still, by its id; set by `enricher.correlate.tracker`."""
        self._lock = threading.Lock()
        self._pods: dict[str, Pod] = {}
        self._copies: defaultdict[str, dict[str, Pod]] = defaultdict(dict)
        """By the UID of a static pod's cgroup, those that say they are its copy, by their own: anybody may say so."""
        self._pod_of: dict[str, str] = {}
        self._labels: dict[str, dict[str, str]] = {}
        self._answers: dict[CgroupRef, Answer] = {}
        self._debugging: dict[str, set[str]] = {}
        self._added: dict[str, dict[str, int]] = {}
        """When each ephemeral container was first seen, by pod and name."""
        self.now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
        self.cluster_uid: str | None = None

    def pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        """Take over a change of the mirror of pods."""
        with self._lock:
            added: dict[str, int] = {}
            if old:
                self._pods.pop(old.metadata.uid, None)
                if static := _static_uid(old):
                    self._copies[static].pop(old.metadata.uid, None)
                    if not self._copies[static]:
                        del self._copies[static]
                self._debugging.pop(old.metadata.uid, None)
                added = self._added.pop(old.metadata.uid, {})
                for container_id in ids_of(old):
                    self._pod_of.pop(container_id, None)
            if new:
                self._pods[new.metadata.uid] = new
                if static := _static_uid(new):
                    self._copies[static][new.metadata.uid] = new
                self._pod_of.update(dict.fromkeys(ids_of(new), new.metadata.uid))
                if self.debugs_node(new) and not new.status.is_over:
                    self._debugging[new.metadata.uid] = self._tags_of(new)
                if new.spec.ephemeral_containers:
                    known = added if old and old.metadata.uid == new.metadata.uid else {}
                    names = [each.name for each in new.spec.ephemeral_containers]
                    self._added[new.metadata.uid] = dict.fromkeys(names, self.now_ms()) | known
            self.version += 1

    def namespace_changed(self, old: Namespace | None, new: Namespace | None) -> None:
        """Take over a change of the mirror of namespaces."""
        with self._lock:
            if new is None:
                self._labels.pop(old.metadata.name if old else "", None)
            else:
                self._labels[new.metadata.name] = new.metadata.labels
                if new.metadata.name == "kube-system":
                    self.cluster_uid = new.metadata.uid
            self.version += 1

    def node_debuggers(self) -> list[str]:
        """UIDs of the requests whose pods to debug this node are open."""
        with self._lock:
            return sorted(set().union(*self._debugging.values()))

    def recorded_pods(self) -> list[Pod]:
        """The pods whose processes are to be recorded."""
        with self._lock:
            return [pod for pod in self._pods.values() if not pod.status.is_over and self._is_recorded(pod)]

    def debugs_node(self, pod: Pod) -> bool:
        """Whether a pod is for debugging its node."""
        contexts = (each.security_context for each in [*pod.spec.containers, *pod.spec.init_containers])
        traits = Traits(
            name=pod.metadata.name,
            labels=pod.metadata.labels,
            annotations=pod.metadata.annotations,
            owned=bool(pod.metadata.owner_references),
            host_pid=pod.spec.host_pid,
            on_the_host=pod.spec.host_pid or pod.spec.host_network or pod.spec.host_ipc,
            privileged=any(context and context.privileged for context in contexts),
        )
        return is_node_debug(traits, self._node_debug)

    def look(self, ref: CgroupRef) -> Answer:
        """What is known of a container now."""
        known = self._answers.get(ref)
        if known is None or known.version != self.version:
            with self._lock:
                fresh = self._answer(ref)
                if fresh.recorded is None and known and known.recorded is not None:
                    # A pod that was deleted by force: its containers go on for as long as the kubelet lets them.
                    fresh = replace(known, version=self.version)
                known = self._answers[ref] = fresh
                if len(self._answers) > _MOST_ANSWERS:
                    del self._answers[next(iter(self._answers))]
        return known

    def _answer(self, ref: CgroupRef) -> Answer:
        if ref.on_node:
            return Answer(self.version, recorded=bool(self._debugging))
        pod = self._pod(ref)
        if ref.sandbox and ref.container_id not in self._pod_of:  # what the kubelet reports is no sandbox
            return Answer(self.version, recorded=False)
        recorded = self._is_recorded(pod) if pod else None
        if pod is None or recorded is None:
            return Answer(self.version)
        spec = _spec_of(pod, ref, self.is_there)
        seen_ms = self._added.get(pod.metadata.uid, {}).get(spec.name) if spec else None
        return Answer(self.version, recorded, self._container(pod, spec, ref, seen_ms) if spec else None)

    def forget(self, container_id: str) -> None:
        """Drop what is remembered of a container that is gone."""
        for ref in [each for each in self._answers if each.container_id == container_id]:
            del self._answers[ref]

    def _is_recorded(self, pod: Pod) -> bool | None:
        labels = self._labels.get(pod.metadata.namespace)
        return None if labels is None else opted_in(labels) or self.debugs_node(pod)

    def _pod(self, ref: CgroupRef) -> Pod | None:
        uid = ref.pod_uid or self._pod_of.get(ref.container_id, "")
        if pod := self._pods.get(uid):
            return pod
        copies = list(self._copies.get(uid, {}).values())
        if len(copies) > 1:  # the kubelet reports the containers of its own alone
            copies = [each for each in copies if ref.container_id in ids_of(each)]
        return copies[0] if len(copies) == 1 else None

    def _container(self, pod: Pod, spec: ContainerSpec, ref: CgroupRef, seen_ms: int | None) -> Container:
        is_ephemeral, status = _is_ephemeral(pod, spec), statuses_of(pod).get(ref.container_id)
        debugs = pod.spec.node_name if self.debugs_node(pod) else ""
        return Container(
            id=ref.container_id,
            resource=Resource(pod.metadata.namespace, pod.metadata.name, spec.name),
            image=spec.image,
            pod_uid=pod.metadata.uid,
            tag=self._tag_of(pod, spec),
            ephemeral=is_ephemeral,
            debugs=debugs,
            command=(*spec.command, *spec.args) if is_ephemeral or debugs else (),
            created_ms=_ms(pod.metadata.creation_timestamp),
            seen_ms=seen_ms,
            started_ms=_ms(status.state.started_at) if status else None,
            sole=[each.name for each in pod.spec.containers] == [spec.name],
            logged=_is_logged(pod, spec),
            kubelet_commands=_kubelet_commands(spec),
        )

    def _tag_of(self, pod: Pod, spec: ContainerSpec) -> str | None:
        """The tag that the webhook put into the spec; an ordinary container's author could write anything there."""
        if not _is_ephemeral(pod, spec) and not self.debugs_node(pod):
            return None
        return next((each.value for each in spec.env if each.name == TAG_VARIABLE and is_uid(each.value)), None)

    def _tags_of(self, pod: Pod) -> set[str]:
        return {tag for each in containers_of(pod) if (tag := self._tag_of(pod, each))}


def _static_uid(pod: Pod) -> str:
    """The UID that a static pod's cgroup goes by: its manifest's, or else the manifest's hash; empty for other pods.

    Anybody may annotate a pod of their own, also with another's UID: that one goes first.
    """
    annotations = pod.metadata.annotations
    return annotations.get(CONFIG_HASH, "") if CONFIG_MIRROR in annotations else ""


def _ms(stamp: str | None) -> int | None:
    """RFC 3339 as milliseconds since the epoch; None for what is none, which is as good as not known."""
    try:
        return round(datetime.fromisoformat(stamp or "").timestamp() * 1000)
    except ValueError:
        return None


def _kubelet_commands(spec: ContainerSpec) -> dict[tuple[str, ...], Origin]:
    hooks = (spec.lifecycle.post_start, spec.lifecycle.pre_stop) if spec.lifecycle else ()
    commands: dict[tuple[str, ...], Origin] = {tuple(each.exec.command): "hook" for each in hooks if each and each.exec}
    variables = variables_of(spec)
    return commands | {expand(each, variables): "probe" for each in probe_commands(spec)}


def _spec_of(pod: Pod, ref: CgroupRef, is_there: Callable[[str], bool]) -> ContainerSpec | None:
    """Which of the pod's containers this is: as reported, as the node shows, or the only one that can be.

    That another one has an id by now proves nothing unless that is there: this may be the same one, started again.
    """
    every, ids = containers_of(pod), ids_of(pod)
    if name := ids.get(ref.container_id) or ref.name:
        return next((each for each in every if each.name == name), None)
    if len(every) > 1:
        others = {name for container_id, name in ids.items() if is_there(container_id)}
        every = [each for each in every if each.name not in others] if len(others) == len(ids) else []
    return every[0] if len(every) == 1 else None


def _is_ephemeral(pod: Pod, spec: ContainerSpec) -> bool:
    return any(each.name == spec.name for each in pod.spec.ephemeral_containers)


def _is_logged(pod: Pod, spec: ContainerSpec) -> bool:
    if spec.security_context and spec.security_context.privileged:
        return False  # runtimes give it no seccomp, whatever its pod's profile
    context = next((c for c in (spec.security_context, pod.spec.security_context) if c and c.seccomp_profile), None)
    profile = context.seccomp_profile if context else None
    return bool(profile and profile.type == "Localhost" and profile.localhost_profile in LOGGING_FILES)
