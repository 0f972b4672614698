"""Two hundred execs in a row, while something is replaced under them: none fails, and each has its AuditSession."""

import base64
import json
import ssl
import threading
import uuid

from .cluster import Cluster, eventually
from .execs import executing
from .node import services
from .node.up import up
from .product import NAMESPACE, webhook_pods
from .sessions import Person
from .test_api_server_away import containers

_EXECS = 200
_PORT = 9443


def test_while_cert_manager_renews_the_leaf_and_then_the_ca(alice: Person, recorded: str) -> None:
    with executing(alice, recorded, _EXECS):
        _renew(alice.admin, "exectrail-webhook", "exectrail-webhook-tls")
        _serves_its_secret(alice.admin)
        _renew(alice.admin, "exectrail-ca", "exectrail-ca")
        _renew(alice.admin, "exectrail-webhook", "exectrail-webhook-tls")
        _serves_its_secret(alice.admin)


def test_while_each_replica_of_the_webhook_is_deleted_in_turn(alice: Person, recorded: str) -> None:
    with executing(alice, recorded, _EXECS):
        for each in webhook_pods(alice.admin):
            alice.admin.kubectl("delete", "pod", "-n", NAMESPACE, each["metadata"]["name"], "--wait")
            alice.admin.kubectl("rollout", "status", "-n", NAMESPACE, "deploy/exectrail-webhook", "--timeout=90s")


def test_while_the_api_server_restarts(alice: Person, recorded: str) -> None:
    before, away = containers(alice.admin), threading.Event()
    with executing(alice, recorded, _EXECS, away):
        away.set()
        # It alone: a kubelet that starts anew takes the webhook out of its Service until it has probed it.
        services.kill("kube-apiserver")
        up()
        # It comes back before it knows rights.
        exec_ = ("exec", "-n", recorded, "web", "-c", "app", "--", "true")
        eventually(lambda: all(alice.cluster.kubectl(*exec_, check=False).returncode == 0 for _ in range(5)), 60)
        eventually(lambda: containers(alice.admin) == before, 60)
        away.clear()


def _renew(admin: Cluster, name: str, secret: str) -> None:
    """As `cmctl renew` does it; returns once the Secret holds another certificate."""
    before = _certificate(admin, secret)
    now = admin.run("date", "-u", "+%Y-%m-%dT%H:%M:%SZ").stdout.strip()
    asked = {"type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "lastTransitionTime": now}
    conditions = [*admin.get("certificate", name, "-n", NAMESPACE)["status"].get("conditions", []), asked]
    patch = json.dumps({"status": {"conditions": conditions}})
    target = ("patch", "certificate", name, "-n", NAMESPACE, "--subresource=status")
    admin.kubectl(*target, "--type=merge", "-p", patch)
    eventually(lambda: _certificate(admin, secret) != before, 60)


def _certificate(admin: Cluster, secret: str) -> str:
    encoded: str = admin.get("secret", secret, "-n", NAMESPACE)["data"]["tls.crt"]
    return base64.b64decode(encoded).decode()


def _serves_its_secret(admin: Cluster) -> None:
    """Wait until each replica does. The kubelet brings a changed Secret within a minute, or when a pod changes."""
    leaf = _certificate(admin, "exectrail-webhook-tls")
    for each in webhook_pods(admin):
        admin.kubectl(
            "annotate", "pod", "-n", NAMESPACE, each["metadata"]["name"], f"look={uuid.uuid4()}", "--overwrite"
        )
    for each in webhook_pods(admin):
        address = (each["status"]["podIP"], _PORT)
        eventually(lambda address=address: ssl.get_server_certificate(address) in leaf, 90)  # type: ignore[misc]
