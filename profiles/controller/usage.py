"""Which pods use which SeccompProfile, and on which nodes the installer runs: kept up from the changes of pods."""

import threading

from exectrail.contracts.pod_profiles import files_of
from profiles.controller.objects import Pod


class Usage:
    """An index of pods. Changes come from one thread, questions from another.

    Args:
        namespace: Of the release.
        daemonset: The installer's.

    """

    def __init__(self, namespace: str, daemonset: str) -> None:
        self._namespace, self._daemonset = namespace, daemonset
        self._lock = threading.Lock()
        self._by_file: dict[str, set[str]] = {}
        self._by_namespace: dict[str, set[str]] = {}
        self._nodes: dict[str, str] = {}

    def update(self, old: Pod | None, new: Pod | None) -> tuple[frozenset[str], bool]:
        """Take in a change of a pod: the files that are used by one pod more or less, and whether the nodes changed."""
        before, after = files_of(old) if old else frozenset[str](), files_of(new) if new else frozenset[str]()
        pod = new or old
        if pod is None:
            return frozenset(), False
        with self._lock:
            for file in before - after:
                _remove(self._by_file, file, pod.key)
            for file in after - before:
                self._by_file.setdefault(file, set()).add(pod.key)
            if before and not after:
                _remove(self._by_namespace, pod.metadata.namespace, pod.key)
            if after:
                self._by_namespace.setdefault(pod.metadata.namespace, set()).add(pod.key)
            return before ^ after, self._node_changed(pod, new)

    def users(self, file: str) -> frozenset[str]:
        """The pods that need a file, `namespace/name`."""
        with self._lock:
            return frozenset(self._by_file.get(file, ()))

    def in_namespace(self, namespace: str) -> frozenset[str]:
        """The pods of a namespace that need any file."""
        with self._lock:
            return frozenset(self._by_namespace.get(namespace, ()))

    def nodes(self) -> frozenset[str]:
        """The nodes that have a pod of the installer."""
        with self._lock:
            return frozenset(self._nodes.values())

    def _node_changed(self, pod: Pod, new: Pod | None) -> bool:
        before = self._nodes.get(pod.key)
        is_ours = pod.metadata.namespace == self._namespace and pod.owned_by("DaemonSet", self._daemonset)
        after = new.spec.node_name if new and is_ours else ""
        if after:
            self._nodes[pod.key] = after
        else:
            self._nodes.pop(pod.key, None)
        return (before or "") != after


def _remove(index: dict[str, set[str]], where: str, key: str) -> None:
    found = index.get(where, set())
    found.discard(key)
    if not found:
        index.pop(where, None)
