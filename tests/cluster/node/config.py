"""The configuration files of the node's components. JSON where they read YAML: it is a subset of it."""

import json
from pathlib import Path

from . import container_runtimes, pki
from .components import PAUSE_IMAGE
from .paths import CONFIG, CONTAINERD_SOCKET, RUN, STATE

API_SERVER = "https://127.0.0.1:6443"
PODS = "10.244.0.0/24"
NETWORK = "exectrail"  # CNI keeps its results under this name
BRIDGE = "exectrail0"

CONTAINERD = CONFIG / "containerd.toml"
CNI = CONFIG / "cni"
KUBELET = CONFIG / "kubelet.json"
KUBELET_SETTINGS = CONFIG / "kubelet.d"
"""A test's `*.conf` here goes before it: https://kubernetes.io/docs/tasks/administer-cluster/kubelet-config-file/"""
AUDIT_POLICY = CONFIG / "audit-policy.json"


def write_config() -> None:
    """Write every file; a running component keeps what it read when it started."""
    CNI.mkdir(parents=True, exist_ok=True)
    KUBELET_SETTINGS.mkdir(exist_ok=True)
    for client in pki.CLIENTS:
        _write(kubeconfig(client), _kubeconfig(client))
    _write(AUDIT_POLICY, _AUDIT_POLICY)
    _write(KUBELET, _kubelet())
    _write(CNI / "10-bridge.conflist", _network())
    CONTAINERD.write_text(_containerd())


def kubeconfig(client: str) -> Path:
    """The kubeconfig of `client`, one of pki.CLIENTS."""
    return CONFIG / f"{client}.kubeconfig"


def _write(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
    path.chmod(0o600)


def _kubeconfig(client: str) -> dict[str, object]:
    files = {"client-certificate": str(pki.file(client, "crt")), "client-key": str(pki.file(client, "key"))}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "node", "cluster": {"server": API_SERVER, "certificate-authority": str(pki.CA)}}],
        "users": [{"name": client, "user": files}],
        "contexts": [{"name": "node", "context": {"cluster": "node", "user": client}}],
        "current-context": "node",
    }


# The API server's own record of what the product records, for tests to compare.
_SESSION_RESOURCES = ["pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers"]
_AUDIT_POLICY: dict[str, object] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "RequestResponse", "resources": [{"group": "", "resources": _SESSION_RESOURCES}]},
        {"level": "Metadata", "verbs": ["create"], "resources": [{"group": "", "resources": ["pods"]}]},
        {"level": "None"},
    ],
}

KUBELET_KIND: dict[str, object] = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}


def _kubelet() -> dict[str, object]:
    return {
        **KUBELET_KIND,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki.CA)},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "tlsCertFile": str(pki.file("kubelet", "crt")),
        "tlsPrivateKeyFile": str(pki.file("kubelet", "key")),
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        # The node is a guest on this machine: it reserves nothing, and evicts nothing before the disk is full.
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": False,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
        # Its images come from archives and can't be pulled again.
        "imageGCHighThresholdPercent": 100,
        "resolvConf": "/etc/resolv.conf",
        # A test's pod shall be seen and be gone soon.
        "syncFrequency": "10s",
        "address": pki.NODE_ADDRESS,
        "volumePluginDir": str(STATE / "volume-plugins"),
        "nodeStatusUpdateFrequency": "5s",
    }


def _network() -> dict[str, object]:
    addresses = {
        "type": "host-local",
        "dataDir": str(RUN / "addresses"),
        "ranges": [[{"subnet": PODS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": addresses,
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    # Lets pods through where Docker has made DROP the policy of forwarding.
    firewall = {"type": "firewall"}
    return {"cniVersion": "0.4.0", "name": NETWORK, "plugins": [bridge, firewall, portmap]}


def _containerd() -> str:
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE runc can't lower a score, and dies of trying.
    # netns_mounts_under_state_dir, Root: what belongs to this node lies in this node's folders.
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    programs = {"runc": Path("runc"), **container_runtimes.write()}
    runtimes = "".join(_runtime(cri, handler, program) for handler, program in programs.items())
    return f"""\
version = 2
root = "{STATE / "containerd"}"
state = "{RUN / "containerd"}"
[grpc]
  address = "{CONTAINERD_SOCKET}"
[{cri}]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
[{cri}.cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{CNI}"
{runtimes}"""


def _runtime(cri: str, handler: str, program: Path) -> str:
    return f"""\
[{cri}.containerd.runtimes.{handler}]
  runtime_type = "io.containerd.runc.v2"
[{cri}.containerd.runtimes.{handler}.options]
  Root = "{RUN / "runc"}"
  BinaryName = "{program}"
"""
