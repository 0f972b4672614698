"""A node as full as a kubelet lets it be by default, with sessions open: what that takes of the enricher's memory."""

import contextlib
import subprocess
import time
from collections.abc import Iterator

from bench.agent import Agent
from bench.figures import Figure, at_most, seen
from bench.memory import private_mib
from tests.cluster.cluster import Cluster, eventually
from tests.cluster.product import namespace, pod

MOST_PODS, SESSIONS = 110, 50
_NAMESPACE = "bench-full"
_SETTLE = 5.0
_AT_ONCE = 10
"""Pods that one kubectl waits for."""


def figures(cluster: Cluster, agent: Agent) -> Iterator[Figure]:
    """Fill the node, open the sessions, look, and take all of it away again."""
    before = private_mib(agent.pid)
    cluster.apply(namespace(_NAMESPACE, record="true"))
    cluster.kubectl("wait", "-n", _NAMESPACE, "--for=create", "serviceaccount/default", "--timeout=30s")
    names = [f"web-{number}" for number in range(MOST_PODS - _running(cluster))]
    cluster.apply(*(pod(_NAMESPACE, name) for name in names))
    for first in range(0, len(names), _AT_ONCE):
        some = [f"pod/{name}" for name in names[first : first + _AT_ONCE]]
        cluster.kubectl("wait", "-n", _NAMESPACE, *some, "--for=condition=Ready", "--timeout=150s")
    with _sessions(cluster, names[:SESSIONS]):
        time.sleep(_SETTLE)
        full = private_mib(agent.pid)
        how = f"private memory with {_running(cluster)} real pods and {_open(cluster)} open sessions of kubectl exec"
    yield at_most(40, "memory-with-110-pods-and-50-sessions", full, "MiB", how)
    yield seen("memory-before-the-node-was-full", before, "MiB", "private memory of the same process before")
    cluster.kubectl("delete", "namespace", _NAMESPACE, "--wait=false")
    eventually(lambda: not cluster.get("pods", "-n", _NAMESPACE)["items"], seconds=300, every=2)


def _running(cluster: Cluster) -> int:
    return sum(each["status"]["phase"] == "Running" for each in cluster.get("pods", "-A")["items"])


def _open(cluster: Cluster) -> int:
    """Sessions that the node says are running."""
    sessions = cluster.get("auditsessions", "-n", "exectrail")["items"]
    return sum(each.get("status", {}).get("phase") == "Running" for each in sessions)


@contextlib.contextmanager
def _sessions(cluster: Cluster, names: list[str]) -> Iterator[None]:
    """A shell in each of these pods, which waits for input."""
    shells: list[subprocess.Popen[str]] = []
    try:
        shells += [cluster.start("kubectl", "exec", "-i", "-n", _NAMESPACE, name, "--", "sh") for name in names]
        until = time.monotonic() + 120
        while _open(cluster) < len(names) and time.monotonic() < until:
            time.sleep(1)
        yield
    finally:
        for shell in shells:
            shell.terminate()
        for shell in shells:
            shell.communicate(timeout=30)
