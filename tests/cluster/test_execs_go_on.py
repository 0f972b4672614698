"""Two hundred execs in a row, while something is replaced under them: none fails, and each has its AuditSession."""

import base64
import itertools
import json
import ssl
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .cluster import Cluster, eventually
from .product import NAMESPACE
from .sessions import Person, auditsessions

EXECS = 200
_LOOPS = 2
_PORT = 9443


@contextmanager
def executing(alice: Person, where: str) -> Iterator[None]:
    """Run execs meanwhile, and after that until there are enough; none may fail, and none lack its AuditSession."""
    run, numbers, over = uuid.uuid4().hex, itertools.count(), threading.Event()
    passed: list[int] = []
    failed: list[str] = []

    def loop() -> None:
        while not over.is_set() or len(passed) < EXECS:
            number = next(numbers)
            command = ("exec", "-n", where, "web", "-c", "app", "--", "true", run, str(number))
            done = alice.cluster.kubectl(*command, check=False)
            if done.returncode == 0:
                passed.append(number)
            else:
                failed.append(done.stderr)
                return

    loops = [threading.Thread(target=loop) for _ in range(_LOOPS)]
    for each in loops:
        each.start()
    try:
        yield
    finally:
        over.set()
        for each in loops:
            each.join()
    assert failed == []
    assert len(passed) >= EXECS

    def recorded() -> bool:
        commands = [each["spec"].get("command", []) for each in auditsessions()]
        asked = {int(command[2]) for command in commands if command[1:2] == [run]}
        assert asked >= set(passed), f"{len(set(passed) - asked)} of {len(passed)} execs have no AuditSession"
        return True

    eventually(recorded, 60)


def test_while_cert_manager_renews_the_leaf_and_then_the_ca(alice: Person, recorded: str) -> None:
    with executing(alice, recorded):
        _renew(alice.admin, "exectrail-webhook", "exectrail-webhook-tls")
        _serves_its_secret(alice.admin)
        _renew(alice.admin, "exectrail-ca", "exectrail-ca")
        _renew(alice.admin, "exectrail-webhook", "exectrail-webhook-tls")
        _serves_its_secret(alice.admin)


def test_while_each_replica_of_the_webhook_is_deleted_in_turn(alice: Person, recorded: str) -> None:
    with executing(alice, recorded):
        for each in _replicas(alice.admin):
            alice.admin.kubectl("delete", "pod", "-n", NAMESPACE, each["metadata"]["name"], "--wait")
            alice.admin.kubectl("rollout", "status", "-n", NAMESPACE, "deploy/exectrail-webhook", "--timeout=90s")


def _replicas(admin: Cluster) -> list[dict[str, Any]]:
    listed = admin.get("pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=webhook")["items"]
    return [each for each in listed if "deletionTimestamp" not in each["metadata"]]


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
    for each in _replicas(admin):
        admin.kubectl(
            "annotate", "pod", "-n", NAMESPACE, each["metadata"]["name"], f"look={uuid.uuid4()}", "--overwrite"
        )
    for each in _replicas(admin):
        address = (each["status"]["podIP"], _PORT)
        eventually(lambda address=address: ssl.get_server_certificate(address) in leaf, 90)  # type: ignore[misc]
