"""Keys and certificates: one authority, and a certificate for every component and user.

Names and groups follow https://kubernetes.io/docs/setup/best-practices/certificates/.
"""

from dataclasses import dataclass
from pathlib import Path

from .paths import PKI
from .run import run

NODE_NAME = "node1"
NODE_ADDRESS = "10.99.0.1"
API_SERVICE_ADDRESS = "10.96.0.1"  # the first address of the services' range
_LOCAL = ("DNS:localhost", "IP:127.0.0.1")


@dataclass(frozen=True)
class Certificate:
    """A key pair `name`.crt and `name`.key; Kubernetes reads user (CN) and groups (O) from `subject`."""

    name: str
    subject: str
    addresses: tuple[str, ...] = _LOCAL


ALICE = Certificate("alice", "/O=dev/O=oncall/CN=alice")
CERTIFICATES = (
    Certificate("etcd", "/CN=etcd"),
    Certificate("etcd-client", "/CN=kube-apiserver-etcd-client"),
    Certificate(
        "kube-apiserver",
        "/CN=kube-apiserver",
        (
            *_LOCAL,
            *(f"DNS:kubernetes{domain}" for domain in ("", ".default", ".default.svc")),
            f"IP:{NODE_ADDRESS}",
            f"IP:{API_SERVICE_ADDRESS}",
        ),
    ),
    Certificate("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client"),
    Certificate("front-proxy-client", "/CN=front-proxy-client"),
    Certificate("kube-controller-manager", "/CN=system:kube-controller-manager"),
    Certificate("kube-scheduler", "/CN=system:kube-scheduler"),
    Certificate("kube-proxy", "/CN=system:kube-proxy"),
    Certificate(
        "kubelet",
        f"/O=system:nodes/CN=system:node:{NODE_NAME}",
        (*_LOCAL, f"DNS:{NODE_NAME}", f"IP:{NODE_ADDRESS}"),
    ),
    Certificate("admin", "/O=system:masters/CN=admin"),
    ALICE,
)
# Who gets a kubeconfig.
CLIENTS = ("admin", "alice", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet")

CA = PKI / "ca.crt"
CA_KEY = PKI / "ca.key"
SERVICE_ACCOUNT_KEY = PKI / "service-accounts.key"
SERVICE_ACCOUNT_PUBLIC = PKI / "service-accounts.pub"

_DAYS = "365"


def make_certificates() -> None:
    """Make the keys and certificates that are missing."""
    PKI.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not CA.exists():
        _new_key(CA_KEY)
        subject = ("-subj", "/CN=exectrail-node-ca")
        run("openssl", "req", "-x509", "-new", "-key", CA_KEY, "-days", _DAYS, *subject, "-out", CA)
    if not SERVICE_ACCOUNT_PUBLIC.exists():
        _new_key(SERVICE_ACCOUNT_KEY)
        run("openssl", "ec", "-in", SERVICE_ACCOUNT_KEY, "-pubout", "-out", SERVICE_ACCOUNT_PUBLIC)
    for certificate in CERTIFICATES:
        if not file(certificate.name, "crt").exists():
            _sign(certificate)


def file(name: str, suffix: str) -> Path:
    """The `crt` or `key` file of certificate `name`."""
    return PKI / f"{name}.{suffix}"


def _new_key(path: Path) -> None:
    run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)


def _sign(certificate: Certificate) -> None:
    key, request, extensions = (file(certificate.name, suffix) for suffix in ("key", "csr", "ext"))
    _new_key(key)
    run("openssl", "req", "-new", "-key", key, "-subj", certificate.subject, "-out", request)
    names = ",".join(certificate.addresses)
    extensions.write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n")
    # Its existence says that the certificate is complete, so it gets its name last.
    partial = file(certificate.name, "crt-partial")
    authority = ("-CA", CA, "-CAkey", CA_KEY, "-CAcreateserial", "-days", _DAYS)
    run("openssl", "x509", "-req", "-in", request, *authority, "-extfile", extensions, "-out", partial)
    partial.rename(file(certificate.name, "crt"))
