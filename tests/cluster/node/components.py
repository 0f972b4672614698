"""What the node is made of: every part with its version, where it comes from and how it is made."""

import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent

KUBERNETES = "1.34.4"
HELM = "4.3.1"
# 1.12 and later keep their commands in modules of their own that need files beside them to build.
CERT_MANAGER = "1.11.5"
LOKI = "3.7.8"
COLLECTOR = "0.165.1"
# Of exec over WebSocket, those before read on before they have made their streams, and lose what comes meanwhile.
OLDEST_KUBECTL = (1, 34)


@dataclass(frozen=True)
class GoBuild:
    """Static programs built from one pinned Go module.

    `module` is a folder here with go.mod and go.sum; `programs` maps file name to package;
    `links` are further names that the one program answers to; `stamps` are string variables set at link time.
    `takes` is the build's time on two cores.
    """

    name: str
    version: str
    module: Path
    programs: dict[str, str]
    links: tuple[str, ...] = ()
    stamps: dict[str, str] = field(default_factory=dict)
    takes: str = ""


def _kubernetes_stamps() -> dict[str, str]:
    # Without them the API server reports v0.0.0 and kubelet and Helm refuse what needs a newer one.
    major, minor, _ = KUBERNETES.split(".")
    package = "k8s.io/component-base/version."
    return {package + "gitVersion": f"v{KUBERNETES}", package + "gitMajor": major, package + "gitMinor": minor}


HYPERKUBE_BUILD = GoBuild(
    "hyperkube",
    KUBERNETES,
    HERE / "hyperkube",
    programs={"hyperkube": "."},
    links=("kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubelet"),
    stamps=_kubernetes_stamps(),
    takes="6 minutes",
)
KUBECTL_BUILD = GoBuild(
    "kubectl",
    KUBERNETES,
    HERE / "hyperkube",
    programs={"kubectl": "k8s.io/kubernetes/cmd/kubectl"},
    stamps=_kubernetes_stamps(),
    takes="1 minute",
)
HELM_BUILD = GoBuild(
    "helm",
    HELM,
    HERE / "helm",
    programs={"helm": "helm.sh/helm/v4/cmd/helm"},
    stamps={"helm.sh/helm/v4/internal/version.version": f"v{HELM}"},
    takes="3 minutes",
)
CERT_MANAGER_MODULE = "github.com/cert-manager/cert-manager"
CERT_MANAGER_BUILD = GoBuild(
    "cert-manager",
    CERT_MANAGER,
    HERE / "cert-manager",
    programs={part: f"{CERT_MANAGER_MODULE}/cmd/{part}" for part in ("controller", "webhook", "cainjector")},
    stamps={f"{CERT_MANAGER_MODULE}/pkg/util.AppVersion": f"v{CERT_MANAGER}"},
    takes="2 minutes",
)

# No part of the node: what ships the trail is tested against it.
LOKI_BUILD = GoBuild(
    "loki",
    LOKI,
    HERE / "loki",
    programs={"loki": "github.com/grafana/loki/v3/cmd/loki"},
    stamps={"github.com/grafana/loki/v3/pkg/util/build.Version": LOKI},
    takes="4 minutes",
)
COLLECTOR_BUILD = GoBuild(
    "otel-collector",
    COLLECTOR,
    HERE / "otel-collector",
    programs={"otel-collector": "."},
    takes="2 minutes",
)


@dataclass(frozen=True)
class Package:
    """A Debian or Ubuntu package, wanted only where `provides` is missing: a program on PATH, or a file's path.

    That a file decides, not the package database, keeps us from replacing another vendor's build:
    installing Debian's containerd would remove Docker's containerd.io.
    `services` are units that the package starts and that would hold our ports.
    """

    name: str
    provides: str
    services: tuple[str, ...] = ()


# Versions are the distribution's; in Debian 12: etcd 3.4.23, containerd 1.6.20, runc 1.1.5, buildah 1.28.2.
PACKAGES = (
    Package("etcd-server", "etcd", services=("etcd",)),
    Package("containerd", "containerd", services=("containerd",)),
    Package("runc", "runc"),
    Package("containernetworking-plugins", "/usr/lib/cni/bridge"),
    Package("iptables", "iptables"),
    Package("iproute2", "ip"),
    Package("conntrack", "conntrack"),
    Package("kmod", "modprobe"),
    Package("openssl", "openssl"),
    # What Go trusts, to download modules.
    Package("ca-certificates", "/etc/ssl/certs/ca-certificates.crt"),
    # pip, which installs the pinned Go.
    Package("python3-venv", sysconfig.get_path("stdlib") + "/ensurepip"),
    Package("busybox-static", "busybox"),
    Package("debootstrap", "debootstrap"),
    Package("buildah", "buildah"),
    # Without it buildah 1.39 (Debian 13) builds nothing, though our builds need no network of their own. For apt
    # the plugins above will do, too.
    Package("netavark", "/usr/lib/podman/netavark"),
    # For the kernel tests, which load the eBPF program outside of any image.
    Package("clang", "clang"),
    Package("libbpf-dev", "/usr/include/bpf/bpf_helpers.h"),
    Package("linux-libc-dev", "/usr/include/linux/bpf.h"),
    Package("make", "make"),
    # For the tests of auditd's log; the tests run it themselves.
    Package("auditd", "/sbin/auditd", services=("auditd",)),
)

# The images that the node makes itself; none is ever pulled.
PAUSE_IMAGE = "localhost/pause:dev"  # busybox's sleep: the process that holds a pod's namespaces
BASE_IMAGE = "localhost/base:dev"  # debootstrap of the host's release: what the product's image is built on
WORKLOAD_IMAGE = "localhost/workload:dev"  # the same files, as the workload that tests run commands in
PRODUCT_IMAGE = "localhost/exectrail:dev"  # built from the repository's Containerfile
BASE_PACKAGES = ("python3", "python3-venv", "libbpf1", "ca-certificates")


def cert_manager_image(part: str) -> str:
    """The name under which a cert-manager `part` is imported."""
    return f"localhost/cert-manager-{part}:v{CERT_MANAGER}"
