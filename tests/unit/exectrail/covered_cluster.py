"""A cluster that is covered, as its API server shows it; tests spoil one thing at a time."""

import base64
import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from exectrail.doctor import objects
from exectrail.doctor.seen import Answer, Release, Seen

from .fake_cluster import FakeCluster

Object = dict[str, Any]

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
PROFILE = {"type": "Localhost", "localhostProfile": "exectrail/process-audit.json"}
NS = "audit"


def stamp(**before: float) -> str:
    """A time so long before now."""
    return (NOW - timedelta(**before)).isoformat().replace("+00:00", "Z")


def ca(begin: datetime = NOW - timedelta(days=30), end: datetime = NOW + timedelta(days=3000)) -> str:
    """A `caBundle` with a CA that is valid so long."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "exectrail-ca")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(7).not_valid_before(begin).not_valid_after(end)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return base64.b64encode(made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)).decode()


def meta(name: str, namespace: str = "", component: str = "", **more: Any) -> Object:
    labels = {"app.kubernetes.io/name": "exectrail", "app.kubernetes.io/instance": "trail"}
    if component:
        labels["app.kubernetes.io/component"] = component
    return {"name": name, "namespace": namespace, "labels": labels if component else {}, **more}


def workload(component: str, *args: str, **status: int) -> Object:
    containers = [{"name": component, "image": "exectrail:0.1.0", "args": list(args), "env": [SECRET_VARIABLE]}]
    spec: Object = {"template": {"spec": {"containers": containers}}}
    if "readyReplicas" in status:
        spec["replicas"] = status["readyReplicas"]
    name = f"trail-exectrail-{component}"
    return {"metadata": meta(name, NS, component, annotations=APPLIED), "spec": spec, "status": dict(status)}


SECRET_VARIABLE = {"name": "TOKEN", "value": "hunter2"}
APPLIED = {"kubectl.kubernetes.io/last-applied-configuration": '{"env":"hunter2"}'}


def own_pod(component: str, node: str = "n1") -> Object:
    container = "installer" if component == "node" else component
    return {
        "metadata": meta(f"{component}-{node}", NS, component, annotations=APPLIED, creationTimestamp=stamp(days=9)),
        "spec": {
            "nodeName": node,
            "containers": [
                {"name": container, "image": "exectrail:0.1.0", "args": ["--log-level=info"], "env": [SECRET_VARIABLE]},
                {"name": "mesh", "image": "mesh:1", "args": ["--token=hunter2"]},
            ],
        },
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def pod(name: str, namespace: str, node: str = "n1", **spec: Any) -> Object:
    containers = spec.pop("containers", [{"name": "app", "image": "nginx:1.27"}])
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "creationTimestamp": stamp(days=2),
            "labels": {"app": "web"},
        },
        "spec": {"nodeName": node, "containers": containers, **spec},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def node(name: str) -> Object:
    ready = {"type": "Ready", "status": "True"}
    return {"metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"}}, "status": {"conditions": [ready]}}


def trail(name: str, **status: Any) -> Object:
    beat = status.get("heartbeat", stamp(seconds=10.4))
    taken = f"{beat[:19]}Z"  # by the API server, which has whole seconds
    fields: Object = {"f:status": {"f:heartbeat": {}, "f:seq": {}}}
    common = {"auditSource": "netlink", "sensor": "bpf", "weak": ["lost"], "lost": 0, "seq": 4711, "lagMs": 3}
    return {
        "metadata": {"name": name, "managedFields": [{"time": taken, "fieldsV1": fields}]},
        "status": {**common, "since": stamp(days=9), "heartbeat": beat, "uncoveredPods": 0, **status},
    }


def namespace(name: str, since: str = "", **labels: str) -> Object:
    marks = {f"exectrail.io/{key}": value for key, value in labels.items()}
    fields: Object = {"f:metadata": {"f:labels": {f"f:{key}": {} for key in marks}}}
    managed = [{"time": since or stamp(days=5), "fieldsV1": fields}]
    return {"metadata": {"name": name, "labels": marks, "managedFields": managed}}


def entry(name: str, operation: str, *resources: str, path: str = "/mutate-v1-exec-metadata") -> Object:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": [operation], "resources": list(resources)}
    return {
        "name": name,
        "clientConfig": {"service": {"name": "hook", "namespace": NS, "path": path, "port": 443}},
        "rules": [rule],
        "failurePolicy": "Ignore",
    }


class CoveredCluster:
    """The objects by kind."""

    def __init__(self) -> None:
        entries = [
            entry("binding.exectrail.io", "CREATE", "pods"),
            entry("execmetadata.exectrail.io", "CONNECT", "pods/exec", "pods/attach"),
            entry("canary.exectrail.io", "CREATE", "leases", path="/canary"),
        ]
        entries[0]["namespaceSelector"] = {
            "matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["left-out"]}]
        }
        expected = msgspec.json.encode(entries).decode()
        live = copy.deepcopy(entries)
        bundle = ca()
        for each in live:
            each["clientConfig"]["caBundle"] = bundle
            each.setdefault("namespaceSelector", {})
        self.workloads = [
            workload("webhook", "--port=9443", "--metrics-port=9080", readyReplicas=2),
            workload("controller", f"--webhooks={expected}", readyReplicas=1),
            workload("enricher", desiredNumberScheduled=2, numberReady=2),
            workload("node", desiredNumberScheduled=2, numberReady=2),
        ]
        self.own_pods = [
            *(own_pod("webhook", name) for name in ("n1", "n2")),
            own_pod("controller"),
            *(own_pod(part, name) for part in ("enricher", "node") for name in ("n1", "n2")),
        ]
        self.nodes = [node("n1"), node("n2")]
        self.trails = [trail("n1"), trail("n2")]
        self.namespaces = [
            {"metadata": {"name": NS, "labels": {"pod-security.kubernetes.io/enforce": "privileged"}}},
            namespace("plain"),
            namespace("shop", record="true"),
            namespace("bank", profile="process-audit"),
        ]
        self.pods = [
            pod("web", "plain"),
            pod("web", "shop"),
            pod("db", "bank", securityContext={"seccompProfile": PROFILE}),
        ]
        annotations = {"cert-manager.io/inject-ca-from": f"{NS}/trail-exectrail-webhook"}
        self.configurations: list[Object] = [
            {"metadata": {**meta("exectrail", component="webhook"), "annotations": annotations}, "webhooks": live},
            {"metadata": {"name": "aaa"}, "webhooks": [entry("early.example", "CONNECT", "pods/exec")]},
            {"metadata": {"name": "istio"}, "webhooks": [entry("inject.istio.io", "CREATE", "pods")]},
        ]
        self.bindings: list[Object] = []
        self.config_maps = [
            {
                "metadata": meta("trail-exectrail-webhook-outages", NS, "controller"),
                "data": {"reached": stamp(seconds=20), "outages": ""},
            },
            {"metadata": meta("trail-exectrail-unwritten-sessions", NS, "webhook")},
            {"metadata": meta("trail-exectrail-filters", NS, "enricher"), "data": {"filters.json": "hunter2"}},
        ]
        self.certificates = [
            {
                "metadata": meta("trail-exectrail-webhook", NS, "webhook"),
                "status": {
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "notBefore": stamp(days=30),
                    "notAfter": stamp(days=-335),
                    "renewalTime": stamp(days=-305),
                },
            }
        ]

    def seen(self) -> Seen:
        """What the doctor sees of it."""
        opted = {"shop", "bank", *(each["metadata"]["name"] for each in self.namespaces[4:])}
        return Seen(
            now=NOW,
            release=Release(NS, "trail"),
            workloads=Answer(msgspec.convert(self.workloads, list[objects.Workload])),
            own_pods=Answer(msgspec.convert(self.own_pods, list[objects.Pod])),
            nodes=Answer(msgspec.convert(self.nodes, list[objects.Node])),
            trails=Answer(msgspec.convert(self.trails, list[objects.Trail])),
            namespaces=Answer(msgspec.convert(self.namespaces, list[objects.Namespace])),
            pods=Answer(
                msgspec.convert(
                    [each for each in self.pods if each["metadata"]["namespace"] in opted], list[objects.Pod]
                )
            ),
            configurations=Answer(msgspec.convert(self.configurations, list[objects.Configuration])),
            bindings=Answer(msgspec.convert(self.bindings, list[objects.Binding])),
            config_maps=Answer(msgspec.convert(self.config_maps, list[objects.ConfigMap])),
            certificates=Answer(msgspec.convert(self.certificates, list[objects.Certificate])),
        )

    def is_shown_by(self, cluster: FakeCluster) -> None:
        """Let a kubectl answer with it. What is forbidden or spoilt is to be answered before."""
        who = {"kind": "SelfSubjectReview", "metadata": {"creationTimestamp": stamp()}, "status": {"userInfo": {}}}
        cluster.answers("auth whoami", out=who)
        cluster.answers("get auditsessions", out={"items": []})
        deployments, daemon_sets = self.workloads[:2], self.workloads[2:]
        for words, items in (
            ("deployments?", deployments),
            ("daemonsets?", daemon_sets),
            ("mutatingwebhookconfigurations?", self.configurations),
            ("nodetrails?", self.trails),
            ("profilebindings?", self.bindings),
            ("configmaps?", self.config_maps),
            ("certificates?", self.certificates),
            ("events?", []),
            ("namespaces?", self.namespaces),
            ("nodes?", self.nodes),
            (f"{NS}/pods?", self.own_pods),
            ("/api/v1/pods?", [*self.own_pods, *self.pods]),
        ):
            cluster.answers(f"get {words}", out={"items": items, "metadata": {}})
