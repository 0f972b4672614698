"""The product on the node, and what people do with it: the release, workloads to enter, and alice's rights."""

import shutil
import time
from pathlib import Path
from typing import Any

from .cluster import Cluster, Failed, eventually
from .node import api
from .node.components import PRODUCT_IMAGE, WORKLOAD_IMAGE
from .node.imports import containerd_images
from .node.paths import REPOSITORY

NAMESPACE = "exectrail"
RELEASE = "exectrail"
TRAIL = "/var/log/security-profiles-operator/trail.jsonl"
STATE_FOLDER = Path("/var/lib/exectrail")

_REPOSITORY, _, _TAG = PRODUCT_IMAGE.rpartition(":")


def install(cluster: Cluster, *values: str, release: str = RELEASE, namespace: str = NAMESPACE) -> None:
    """Install or upgrade the chart with the image of this checkout; `values` are `key=value`."""
    # The tag stays the same when the image changes: what makes new pods is its digest.
    digest = containerd_images()[PRODUCT_IMAGE].replace(":", "-")
    fresh = [f"{part}.podAnnotations.image={digest}" for part in ("webhook", "controller", "enricher", "node")]
    # Sessions that nothing can record are closed at the next round: no test waits a quarter of a minute for it.
    fresh.append("controller.extraArgs[0]=--interval=1")
    settings = [f"image.repository={_REPOSITORY}", f"image.tag={_TAG}", "image.pullPolicy=Never", *fresh, *values]
    sets = [word for setting in settings for word in ("--set", setting)]
    chart = str(REPOSITORY / "chart")
    target = ("--namespace", namespace, "--create-namespace", "--wait", "--timeout", "120s")
    done = cluster.helm("upgrade", "--install", release, chart, *target, *sets, check=False)
    if done.returncode != 0:
        pods = cluster.kubectl("get", "pods", "-n", namespace, check=False).stdout
        events = cluster.kubectl("get", "events", "-n", namespace, "--sort-by=.lastTimestamp", check=False).stdout
        raise Failed(f"{done.stdout}{done.stderr}\n{pods}\n{events[-3000:]}")


class Release:
    """The release as a test wants it: changed only where it differs from what the test before left."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._values: tuple[str, ...] | None = None

    def with_values(self, *values: str) -> None:
        """Have the chart installed with these values, and all others at their defaults."""
        if self._values != values:
            self._values = None
            install(self._cluster, *values)
            self._values = values

    def with_any_values(self) -> None:
        """Have the chart installed, for what does not depend on its values."""
        if self._values is None:
            self.with_values()

    def forget(self) -> None:
        """Have it gone with all that it wrote: tests that ran here before left trails and sessions like today's."""
        self._cluster.kubectl("delete", "auditsessions", "--all", "-n", NAMESPACE, "--wait=false", check=False)
        self.uninstall()
        # A trail that begins anew has numbers that its NodeTrail has seen already.
        self._cluster.kubectl("delete", "nodetrails", "--all", check=False)
        for folder in (Path(TRAIL).parent, STATE_FOLDER):
            shutil.rmtree(folder, ignore_errors=True)

    def uninstall(self) -> None:
        """Have it gone."""
        self._values = None
        self._cluster.helm("uninstall", RELEASE, "-n", NAMESPACE, "--wait", "--ignore-not-found")


def webhook_pods(cluster: Cluster, *, ending: bool = False) -> list[dict[str, Any]]:
    """The webhook's pods that stay, or those that are on their way out: they answer on meanwhile."""
    listed = cluster.get("pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=webhook")["items"]
    return [each for each in listed if ("deletionTimestamp" in each["metadata"]) == ending]


def namespace(name: str, **labels: str) -> dict[str, Any]:
    """A namespace; labels without their prefix: `record="true"`."""
    marks = {f"exectrail.io/{key}": value for key, value in labels.items()}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": marks}}


def pod(namespace: str, name: str = "web", *containers: str, **spec: Any) -> dict[str, Any]:
    """A pod that waits to be entered: dash and coreutils, so that processes are real programs."""
    each = {
        "image": WORKLOAD_IMAGE,
        "imagePullPolicy": "Never",
        "command": ["sleep", "infinity"],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    every = [{"name": container, **each} for container in containers or ("app",)]
    fields = {"terminationGracePeriodSeconds": 0, "containers": every, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace, "name": name}, "spec": fields}


def container_id(namespace: str, container: str = "app", pod: str = "web") -> str:
    """The runtime's id of a container that runs."""
    found = api.get(f"/api/v1/namespaces/{namespace}/pods/{pod}")
    assert found, f"there is no pod {namespace}/{pod}"
    (runs,) = [each for each in found["status"]["containerStatuses"] if each["name"] == container]
    return str(runs["containerID"]).removeprefix("containerd://")


def restart(cluster: Cluster, namespace: str, pod: str = "web") -> None:
    """End a pod's only container; the kubelet starts it again, with the profile that is on the node."""

    def started() -> str:
        (status,) = cluster.get("pod", pod, "-n", namespace)["status"]["containerStatuses"]
        return str(status["containerID"]) if status["ready"] else ""

    before = eventually(started)
    cluster.run("ctr", "task", "kill", "-s", "SIGKILL", before.removeprefix("containerd://"))
    eventually(lambda: started() not in ("", before), 60)


def looked_into(*containers: str) -> None:
    """Wait until the node has said that these (`namespace/pod/container`) have an `env`: from then on execs are tagged.

    Raises:
        Failed: It did not, in time.

    """

    looks = 0

    def said() -> bool:
        nonlocal looks
        looks += 1
        listed = api.get("/apis/exectrail.io/v1alpha1/nodetrails")
        trails = listed["items"] if listed else []
        known = {name for each in trails for name, found in each.get("status", {}).get("env", {}).items() if found}
        assert known >= set(containers), f"known are {sorted(known)}"
        return True

    eventually(said)
    if looks > 1:
        time.sleep(0.5)  # the webhook's replicas watch the same


def may_enter(namespace: str, user: str = "alice") -> tuple[dict[str, Any], dict[str, Any]]:
    """The right of a user to see pods of a namespace and to exec into them; nothing else."""
    api = "rbac.authorization.k8s.io"
    meta = {"namespace": namespace, "name": f"{user}-may-enter"}
    sub = ["pods/exec", "pods/attach", "pods/portforward"]
    role = {
        "apiVersion": f"{api}/v1",
        "kind": "Role",
        "metadata": meta,
        "rules": [
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": [""], "resources": sub, "verbs": ["create", "get"]},
            {"apiGroups": [""], "resources": ["pods/ephemeralcontainers"], "verbs": ["patch", "update"]},
        ],
    }
    binding = {
        "apiVersion": f"{api}/v1",
        "kind": "RoleBinding",
        "metadata": meta,
        "roleRef": {"apiGroup": api, "kind": "Role", "name": meta["name"]},
        "subjects": [{"apiGroup": api, "kind": "User", "name": user}],
    }
    return role, binding


def pids(program: str) -> list[int]:
    """The processes of one of our programs that run in a pod of this node; other tests run the same ones outside."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            in_pod = "kubepods" in (folder / "cgroup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if in_pod and words[1:3] == [b"-m", program.encode()]:
            found.append(int(folder.name))
    return found
