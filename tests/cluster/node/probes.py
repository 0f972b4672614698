"""Whether a kubelet that was started anew has found its pods ready again.

Until its first probe of a container it takes it for unready. The API server goes past a webhook that is unready: a pod
made in that moment has no profile as long as it lives.
"""

import re
from collections import defaultdict
from typing import Any

from . import pki
from .api import get, get_text

_NODE = f"/api/v1/nodes/{pki.NODE_NAME}/proxy/metrics/probes"
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_PODS = f"/api/v1/pods?fieldSelector=spec.nodeName={pki.NODE_NAME},status.phase=Running"


def done() -> bool:
    """Whether each container was probed since then, and all that were found ready are so at the API server.

    Each twice: by then, what the kubelet said before its first probe has arrived.
    """
    metrics = get_text(_NODE)
    pods = get(_PODS)
    return metrics is not None and pods is not None and all_seen(metrics, pods["items"])


def all_seen(metrics: str, pods: list[dict[str, Any]]) -> bool:
    """The same, by the kubelet's `/metrics/probes`."""
    probed: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for line in metrics.splitlines():
        labels = dict(_LABEL.findall(line))
        if line.startswith("prober_probe_total{") and labels["probe_type"] == "Readiness":
            probed[labels["pod_uid"], labels["container"]][labels["result"]] = int(line.rpartition(" ")[2])
    for pod in pods:
        if "deletionTimestamp" in pod["metadata"]:
            continue
        ready = {each["name"]: each["ready"] for each in pod["status"]["containerStatuses"]}
        for container in pod["spec"]["containers"]:
            found = probed[pod["metadata"]["uid"], container["name"]]
            if "readinessProbe" in container and sum(found.values()) < 2:
                return False
            if "successful" in found and not ready[container["name"]]:
                return False
    return True
