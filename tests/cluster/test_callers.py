"""What a pod can do to the webhook: no exec fails for it or waits, and the webhook stays below half of its limit."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.load import attacks

from .cluster import Cluster
from .node.components import PRODUCT_IMAGE
from .product import pids, pod, webhook_pods
from .sessions import Person

ATTACKER = "attacker"
HALF_MIB = 64
WORST_SECONDS = 1.0
"""Of the API server's calls, 99 of 100; its timeout is three seconds."""
FULL_SIZE = ("silent-tcp", "idle-tls", "handshakes", "many-headers", "one-header", "unfinished-bodies", "many-words")

_HOOK = "execmetadata.exectrail.io"
_DURATION = "apiserver_admission_webhook_admission_duration_seconds"


@pytest.fixture
def attacker(admin: Cluster, plain: str) -> Iterator[str]:
    """A pod with the program of attacks, and no rights; its namespace."""
    made = pod(plain, ATTACKER)
    (container,) = made["spec"]["containers"]
    mount = {"name": "program", "mountPath": "/program"}
    container |= {"image": PRODUCT_IMAGE, "command": ["sleep", "infinity"], "volumeMounts": [mount]}
    made["spec"]["volumes"] = [{"name": "program", "configMap": {"name": ATTACKER}}]
    program = Path(attacks.__file__).read_text()
    admin.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": ATTACKER, "namespace": plain},
            "data": {"attacks.py": program},
        },
        made,
    )
    admin.kubectl("wait", "-n", plain, f"pod/{ATTACKER}", "--for=condition=Ready", "--timeout=60s")
    yield plain
    admin.kubectl("delete", "-n", plain, f"pod/{ATTACKER}", f"configmap/{ATTACKER}", "--now")


@contextmanager
def attacked(admin: Cluster, space: str, name: str) -> Iterator[None]:
    """Both replicas are attacked; the block begins when all is in place, or has been beaten off."""
    hosts = [each["status"]["podIP"] for each in webhook_pods(admin)]
    assert len(hosts) == 2
    program = ("exec", "-i", "-n", space, ATTACKER, "--", "python3", "/program/attacks.py", name)
    running = [admin.start("kubectl", *program, host, "9443") for host in hosts]
    try:
        for each in running:
            assert each.stdout
            assert each.stdout.readline() == "held\n", each.communicate()
        yield
    finally:
        for each in running:
            each.communicate("", timeout=60)


def webhooks() -> dict[int, float]:
    """The most memory that each of the webhook's processes has taken, in MiB, by pid."""
    return {pid: _peak_mib(pid) for pid in pids("webhook")}


def _peak_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1024


def calls(admin: Cluster) -> dict[float, float]:
    """How many of the API server's calls took at most so many seconds."""
    found: dict[float, float] = {}
    for family in text_string_to_metric_families(admin.kubectl("get", "--raw", "/metrics").stdout):
        for sample in family.samples if family.name == _DURATION else ():
            if sample.name == f"{_DURATION}_bucket" and sample.labels["name"] == _HOOK:
                bound = float(sample.labels["le"])
                found[bound] = found.get(bound, 0) + sample.value
    return found


def quantile(before: dict[float, float], after: dict[float, float], share: float) -> float:
    """The bound of the first bucket that has this share of the calls made in between."""
    made = {bound: count - before.get(bound, 0) for bound, count in after.items()}
    return min(bound for bound, count in made.items() if count >= share * made[float("inf")])


def fail_open(admin: Cluster) -> float:
    """How many requests the API server has let pass because the webhook did not answer."""
    families = text_string_to_metric_families(admin.kubectl("get", "--raw", "/metrics").stdout)
    name = "apiserver_admission_webhook_fail_open"
    return sum(sample.value for family in families if family.name == name for sample in family.samples)


@pytest.mark.parametrize("name", FULL_SIZE)
def test_an_attack_on_the_webhook_takes_neither_its_memory_nor_anybodys_time(
    admin: Cluster, alice: Person, attacker: str, recorded: str, name: str
) -> None:
    before, opened, replicas = calls(admin), fail_open(admin), webhooks().keys()

    with attacked(admin, attacker, name):
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            alice.cluster.kubectl("exec", "-n", recorded, "web", "-c", "app", "--", "true")

    after, peaks = calls(admin), webhooks()
    worst = quantile(before, after, 0.99)
    figures = {"attack": name, "MiB": sorted(round(peak, 1) for peak in peaks.values()), "p99 at most": worst}
    sys.stderr.write(json.dumps(figures) + "\n")
    assert peaks.keys() == replicas, "a replica was started anew"
    assert max(peaks.values()) < HALF_MIB
    assert worst <= WORST_SECONDS
    assert fail_open(admin) == opened
