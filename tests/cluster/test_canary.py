"""A webhook that is not reached is seen within a minute, and afterwards it is known from when until when."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from .cluster import Cluster, eventually
from .node import pki
from .node.paths import REPOSITORY
from .product import NAMESPACE, RELEASE
from .sessions import Person

pytestmark = pytest.mark.values("controller.extraArgs[1]=--canary-interval=2")

MINUTE = 60
CONFIGURATION = "mutatingwebhookconfiguration/exectrail"


def metric(admin: Cluster, name: str) -> float:
    """A figure of the controller's, about the webhook."""
    (pod,) = [
        each["metadata"]["name"]
        for each in admin.get("pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=controller")["items"]
        if "deletionTimestamp" not in each["metadata"]
    ]
    page = admin.kubectl("get", "--raw", f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}:9081/proxy/metrics").stdout
    (value,) = [
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == f"exectrail_controller_webhook_{name}"
    ]
    return value


def outages(admin: Cluster) -> list[dict[str, str]]:
    data = admin.get("configmap", "exectrail-webhook-outages", "-n", NAMESPACE).get("data", {})
    return [json.loads(line) for line in data.get("outages", "").splitlines()]


@pytest.fixture
def reached(admin: Cluster) -> Cluster:
    """The cluster, once the controller has seen that all is well."""
    eventually(lambda: (metric(admin, "reachable"), metric(admin, "configuration_intact")) == (1, 1), MINUTE)
    eventually(lambda: all("until" in each for each in outages(admin)), MINUTE)
    return admin


def entries(admin: Cluster) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = admin.get(CONFIGURATION)["webhooks"]
    return listed


def change(admin: Cluster, *steps: dict[str, Any]) -> None:
    """Change the webhook's configuration by a JSON patch."""
    admin.kubectl("patch", CONFIGURATION, "--type=json", f"--patch={json.dumps(steps)}")


@contextmanager
def no_replica(admin: Cluster) -> Iterator[None]:
    scale = ("scale", "-n", NAMESPACE, "deploy/exectrail-webhook")
    admin.kubectl(*scale, "--replicas=0")
    try:
        # They answer on while they end.
        ended = ("-n", NAMESPACE, "-l", "app.kubernetes.io/component=webhook", "--for=delete", "--timeout=90s")
        admin.kubectl("wait", "pod", *ended)
        yield
    finally:
        admin.kubectl(*scale, "--replicas=2")
        admin.kubectl("rollout", "status", "-n", NAMESPACE, "deploy/exectrail-webhook", "--timeout=90s")


@contextmanager
def no_injector(admin: Cluster) -> Iterator[None]:
    """Nobody puts the right `caBundle` back, until the end: cert-manager's part for that is away."""
    before, injector = entries(admin), ("-n", "cert-manager", "deploy/cert-manager-cainjector")
    admin.kubectl("scale", *injector, "--replicas=0")
    try:
        admin.kubectl("wait", "-n", "cert-manager", "pod", "-l", "app=cainjector", "--for=delete", "--timeout=60s")
        yield
    finally:
        admin.kubectl("scale", *injector, "--replicas=1")
        eventually(lambda: entries(admin) == before, 2 * MINUTE)


@contextmanager
def wrong_ca(admin: Cluster) -> Iterator[None]:
    """The API server trusts another CA."""
    other = base64.b64encode(pki.CA.read_bytes()).decode()
    paths = [f"/webhooks/{index}/clientConfig/caBundle" for index in range(len(entries(admin)))]
    with no_injector(admin):
        change(admin, *({"op": "replace", "path": path, "value": other} for path in paths))
        yield


@contextmanager
def execs_not_asked_about(admin: Cluster) -> Iterator[None]:
    (index,) = [n for n, each in enumerate(entries(admin)) if each["name"] == "execmetadata.exectrail.io"]
    path = f"/webhooks/{index}/rules/0/resources"
    before = entries(admin)[index]["rules"][0]["resources"]
    change(admin, {"op": "replace", "path": path, "value": [each for each in before if each != "pods/exec"]})
    try:
        yield
    finally:
        change(admin, {"op": "replace", "path": path, "value": before})


def test_a_webhook_that_is_reached_is_seen_to_be(reached: Cluster) -> None:
    reached.helm("test", RELEASE, "-n", NAMESPACE)

    said = reached.kubectl("logs", "-n", NAMESPACE, "exectrail-test").stdout
    assert said == "The API server reaches the webhook: a canary came back with its answer.\n"
    left = reached.kubectl("get", "leases", "-n", NAMESPACE, "-o", "name").stdout
    assert "canary" not in left
    for kind in ("serviceaccount", "role", "rolebinding"):
        assert reached.kubectl("get", kind, "exectrail-test", "-n", NAMESPACE, "--ignore-not-found").stdout == ""


@pytest.mark.parametrize(
    ("fault", "reasons"),
    [(no_replica, {"no-replica", "unreachable", "timeout"}), (wrong_ca, {"certificate"})],
    ids=["no replica", "wrong CA"],
)
def test_a_webhook_that_is_not_reached_is_seen_and_the_time_of_it_is_known(
    reached: Cluster, alice: Person, plain: str, fault: Any, reasons: set[str]
) -> None:
    before = len(outages(reached))
    with fault(reached):
        broken = datetime.now(UTC)
        eventually(lambda: metric(reached, "reachable") == 0, MINUTE)
        eventually(lambda: len(outages(reached)) > before)
        passed = alice.cluster.kubectl("exec", "-n", plain, "web", "--", "true")
        tested = reached.helm("test", RELEASE, "-n", NAMESPACE, check=False)
        said = reached.kubectl("logs", "-n", NAMESPACE, "exectrail-test").stdout
        mended = datetime.now(UTC)

    eventually(lambda: metric(reached, "reachable") == 1, MINUTE)
    eventually(lambda: all("until" in each for each in outages(reached)), MINUTE)
    kept = outages(reached)[before:]
    assert {each["reason"] for each in kept} <= reasons
    assert datetime.fromisoformat(kept[0]["from"]) <= broken
    assert datetime.fromisoformat(kept[-1]["until"]) >= mended.replace(microsecond=0)
    assert passed.returncode == 0
    assert tested.returncode != 0
    assert said.startswith("The webhook is NOT reached")

    def told() -> bool:
        """The controller sends its Event after it has written the outage's end."""
        events = reached.kubectl("get", "events", "-n", NAMESPACE).stdout
        return "WebhookNotReached" in events and "WebhookReached" in events

    eventually(told)


def test_a_configuration_that_no_longer_asks_about_execs_is_seen(reached: Cluster) -> None:
    before = len(outages(reached))
    with execs_not_asked_about(reached):
        eventually(lambda: metric(reached, "configuration_intact") == 0, MINUTE)
        assert metric(reached, "reachable") == 1
        eventually(lambda: len(outages(reached)) > before)

    eventually(lambda: all("until" in each for each in outages(reached)), MINUTE)
    (kept,) = outages(reached)[before:]
    assert kept["reason"] == "configuration"
    assert "execmetadata.exectrail.io has another rules" in kept["message"]


def test_an_upgrade_keeps_the_outages(reached: Cluster) -> None:
    with no_replica(reached):
        eventually(lambda: "until" not in (outages(reached) or [{"until": ""}])[-1], MINUTE)
    eventually(lambda: all("until" in each for each in outages(reached)), MINUTE)
    kept = outages(reached)

    reached.helm("upgrade", RELEASE, str(REPOSITORY / "chart"), "-n", NAMESPACE, "--reuse-values", "--wait")

    assert outages(reached)[: len(kept)] == kept
