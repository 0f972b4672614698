"""Recognises the pods that `kubectl debug node/...` and `oc debug node/...` make: a user in one is on the node."""

LABELS = {
    "app.kubernetes.io/managed-by": "kubectl-debug",  # kubectl 1.34 and later
    "debug.openshift.io/managed-by": "oc-debug",
}
"""The labels that such a pod has, and what they say."""
_NAME = "node-debugger-"  # kubectl before 1.34 sets no label


def is_node_debug(name: str, labels: dict[str, str], *, on_the_host: bool, sees_the_root: bool) -> bool:
    """Whether a pod is for debugging its node.

    Args:
        name: The pod's.
        labels: The pod's.
        on_the_host: Whether it has any of the node's namespaces (hostPID, hostNetwork, hostIPC).
        sees_the_root: Whether the node's root folder is mounted into it.

    """
    if any(labels.get(key) == value for key, value in LABELS.items()):
        return True
    # Of kubectl's profiles, netadmin mounts nothing; baseline and restricted do neither, and are on no node.
    return name.startswith(_NAME) and (on_the_host or sees_the_root)
