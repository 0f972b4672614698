"""The node's services with their command lines, in the order in which they start."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from . import config, pki
from .api import healthy
from .config import API_SERVER, CONTAINERD, PODS, kubeconfig
from .paths import AUDIT_LOG, CONTAINERD_SOCKET, STATE
from .run import succeeds
from .services import Service

NAMES = (
    "etcd",
    "containerd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
)
# What the services listen on, for the check that no other process does.
PORTS = (2379, 2380, 6443, 10248, 10250, 10256, 10257, 10259)

_ETCD = "https://127.0.0.1:2379"
_ETCD_PEER = "https://127.0.0.1:2380"


def daemons(programs: Path) -> tuple[Service, ...]:
    """The services in order; `programs` is the folder with the Kubernetes daemons."""
    return (
        _etcd(),
        Service("containerd", ("containerd", "--config", str(CONTAINERD)), _containerd_answers),
        _api_server(programs),
        _controller_manager(programs),
        _scheduler(programs),
        _kubelet(programs),
        _kube_proxy(programs),
    )


def _ok(url: str, certificate: str = "admin") -> Callable[[], bool]:
    return partial(healthy, url, certificate)


def _containerd_answers() -> bool:
    return succeeds("ctr", "--address", CONTAINERD_SOCKET, "version")


def _pair(name: str, certificate_flag: str, key_flag: str) -> tuple[str, str]:
    return (f"{certificate_flag}={pki.file(name, 'crt')}", f"{key_flag}={pki.file(name, 'key')}")


def _tls(name: str) -> tuple[str, str]:
    return _pair(name, "--tls-cert-file", "--tls-private-key-file")


def _etcd() -> Service:
    # With certificates though it is local: who can write to etcd is root on this node.
    argv = (
        "etcd",
        "--name=node",
        f"--data-dir={STATE / 'etcd'}",
        f"--listen-client-urls={_ETCD}",
        f"--advertise-client-urls={_ETCD}",
        f"--listen-peer-urls={_ETCD_PEER}",
        f"--initial-advertise-peer-urls={_ETCD_PEER}",
        f"--initial-cluster=node={_ETCD_PEER}",
        *_pair("etcd", "--cert-file", "--key-file"),
        *_pair("etcd", "--peer-cert-file", "--peer-key-file"),
        f"--trusted-ca-file={pki.CA}",
        f"--peer-trusted-ca-file={pki.CA}",
        "--client-cert-auth",
        "--peer-client-cert-auth",
        # Nothing here has to survive a power cut.
        "--unsafe-no-fsync",
    )
    return Service("etcd", argv, _ok(f"{_ETCD}/health", "etcd-client"))


def _api_server(programs: Path) -> Service:
    argv = (
        str(programs / "kube-apiserver"),
        f"--etcd-servers={_ETCD}",
        f"--etcd-cafile={pki.CA}",
        *_pair("etcd-client", "--etcd-certfile", "--etcd-keyfile"),
        *_tls("kube-apiserver"),
        f"--client-ca-file={pki.CA}",
        f"--advertise-address={pki.NODE_ADDRESS}",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki.SERVICE_ACCOUNT_PUBLIC}",
        f"--service-account-signing-key-file={pki.SERVICE_ACCOUNT_KEY}",
        *_pair("kubelet-client", "--kubelet-client-certificate", "--kubelet-client-key"),
        f"--kubelet-certificate-authority={pki.CA}",
        "--kubelet-preferred-address-types=InternalIP",
        *_pair("front-proxy-client", "--proxy-client-cert-file", "--proxy-client-key-file"),
        f"--requestheader-client-ca-file={pki.CA}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        # Webhooks are called at the pod's address: the API server needs no service network of its own.
        "--enable-aggregator-routing=true",
        f"--audit-policy-file={config.AUDIT_POLICY}",
        f"--audit-log-path={AUDIT_LOG}",
        # At `down` open watches are not waited for.
        "--shutdown-delay-duration=0s",
    )
    return Service("kube-apiserver", argv, _ok(f"{API_SERVER}/readyz"), timeout=120)


def _client(name: str) -> tuple[str, ...]:
    flags = ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
    return tuple(f"--{flag}={kubeconfig(name)}" for flag in flags)


def _controller_manager(programs: Path) -> Service:
    name = "kube-controller-manager"
    argv = (
        str(programs / name),
        *_client(name),
        *_tls(name),
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={pki.SERVICE_ACCOUNT_KEY}",
        f"--root-ca-file={pki.CA}",
        f"--cluster-signing-cert-file={pki.CA}",
        f"--cluster-signing-key-file={pki.CA_KEY}",
        f"--flex-volume-plugin-dir={STATE / 'volume-plugins'}",
    )
    return Service(name, argv, _ok("https://127.0.0.1:10257/healthz"))


def _scheduler(programs: Path) -> Service:
    name = "kube-scheduler"
    argv = (str(programs / name), *_client(name), *_tls(name), "--bind-address=127.0.0.1", "--leader-elect=false")
    return Service(name, argv, _ok("https://127.0.0.1:10259/healthz"))


def _kubelet(programs: Path) -> Service:
    argv = (
        str(programs / "kubelet"),
        f"--config={config.KUBELET}",
        f"--config-dir={config.KUBELET_SETTINGS}",
        f"--kubeconfig={kubeconfig('kubelet')}",
        f"--hostname-override={pki.NODE_NAME}",
        f"--node-ip={pki.NODE_ADDRESS}",
    )
    return Service("kubelet", argv, _ok("http://127.0.0.1:10248/healthz"))


def _kube_proxy(programs: Path) -> Service:
    argv = (
        str(programs / "kube-proxy"),
        f"--kubeconfig={kubeconfig('kube-proxy')}",
        f"--hostname-override={pki.NODE_NAME}",
        "--proxy-mode=iptables",
        f"--cluster-cidr={PODS}",
        "--healthz-bind-address=127.0.0.1:10256",
        "--metrics-bind-address=127.0.0.1:10249",
        # 0 leaves the host's connection tracking as it is.
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0",
        "--conntrack-tcp-timeout-close-wait=0",
    )
    return Service("kube-proxy", argv, _ok("http://127.0.0.1:10256/healthz"))
