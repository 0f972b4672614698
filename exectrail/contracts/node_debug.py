"""Recognises pods for debugging their node, by what they are: a user in one is on the node.

The chart's entry `nodedebug.exectrail.io` has the same rule in CEL. tests/unit/chart/test_node_debug_clients.py has the
clients that make such pods, and evaluates both.
"""

import re
from collections.abc import Mapping

from msgspec import Struct

LABELS = {
    "app.kubernetes.io/managed-by": "kubectl-debug",  # kubectl 1.34 and later
    "debug.openshift.io/managed-by": "oc-debug",
}
"""The labels that such a pod has, and what they say."""
SOURCE = "debug.openshift.io/source-resource"
"""The annotation in which `oc debug` and OpenShift's console say what a pod is for, e.g. `/v1, Resource=nodes/NAME`."""

_NAME = "node-debugger-"  # kubectl before 1.34 sets no label
_names_a_node = re.compile(r"(^|[=/])nodes?/").search


class Traits(Struct, frozen=True):
    """What a pod is."""

    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    owned: bool
    """Whether another object made it: a DaemonSet's agents are no debuggers."""
    host_pid: bool
    on_the_host: bool
    """Whether it has any of the node's namespaces (hostPID, hostNetwork, hostIPC)."""
    privileged: bool
    """Whether any of its containers is."""


def is_node_debug(pod: Traits, match: Mapping[str, str]) -> bool:
    """Whether a pod is for debugging its node.

    Args:
        pod: The pod.
        match: Labels of a site's own such pods; one of them suffices.

    """
    if source := pod.annotations.get(SOURCE):
        if _names_a_node(source):
            return True
        known = {key: value for key, value in LABELS.items() if value != "oc-debug"}  # it has that label as well
    else:
        known = LABELS
    if any(pod.labels.get(key) == value for key, value in [*known.items(), *match.items()]):
        return True
    if pod.name.startswith(_NAME) and pod.on_the_host:
        return True
    # k9s, Lens, kubectl-node-shell: what is privileged among the node's processes can enter it, `nsenter -t 1`.
    return pod.privileged and pod.host_pid and not pod.owned
