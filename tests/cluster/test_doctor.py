"""Whether the real cluster is covered, as the doctor says, and what it says once something is not."""

import base64
import json
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from .cluster import Cluster, eventually
from .node.pki import NODE_NAME
from .product import NAMESPACE, TRAIL, install, namespace, pod
from .sessions import Person, whole_lines
from .test_canary import change, entries, no_injector, no_replica

MINUTE = 60
LEFT_BY_OTHERS = (
    "lost",
    "unwritten-sessions",
    "unknown-profile",
    "pods-without-profile",
    "pods-without-bound-profile",
    "pods-uncovered",
)
"""What tests that ran before may have brought about, in namespaces of their own or for as long as an agent runs."""


def doctor(admin: Cluster, *options: str) -> dict[str, dict[str, Any]]:
    """The findings by name; of several of a name the places of all."""
    done = admin.exectrail("doctor", "-o", "json", *options, check=False)
    assert done.returncode in (0, 1, 3), done.stderr
    found: dict[str, dict[str, Any]] = {}
    for each in json.loads(done.stdout)["findings"]:
        found.setdefault(each["name"], each | {"found": []})["found"] += each["found"]
    return found


def test_a_healthy_product_is_covered(admin: Cluster, recorded: str) -> None:
    ignored = [word for name in LEFT_BY_OTHERS for word in ("--ignore", name)]

    def covered() -> str:
        done = admin.exectrail("doctor", *ignored, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    said = eventually(covered, MINUTE)

    assert f"release exectrail in namespace {NAMESPACE}" in said
    assert "1 node looked at for an enricher that is ready and reports" in said
    assert "the clock of 1 node compared with" in said
    assert "the first one ends 20" in said
    assert "not checked" not in said
    assert "This cluster is covered" in said


def test_a_pod_that_started_before_its_namespace_asked_for_the_profile_is_found(admin: Cluster) -> None:
    name = "asked-late"
    admin.apply(namespace(name))
    try:
        admin.kubectl("wait", "-n", name, "--for=create", "serviceaccount/default", "--timeout=120s")
        admin.apply(pod(name))
        admin.kubectl("wait", "-n", name, "pod/web", "--for=condition=Ready", "--timeout=60s")
        assert f"pod {name}/web" not in json.dumps(doctor(admin))
        created = datetime.fromisoformat(admin.get("pod", "web", "-n", name)["metadata"]["creationTimestamp"])
        # The API has whole seconds: within the one of its start, the pod might as well be younger than the label.
        eventually(lambda: datetime.now(UTC) >= created + timedelta(seconds=1))

        admin.kubectl("label", "namespace", name, "exectrail.io/profile=process-audit")

        (place,) = [
            each for each in doctor(admin)["pods-without-profile"]["found"] if each.startswith(f"pod {name}/web:")
        ]
    finally:
        admin.kubectl("delete", "namespace", name, "--wait=false")
        admin.kubectl("delete", "pod", "--all", "-n", name, "--now")
    assert "container app seccompProfile=none" in place
    assert "before the label of" in place


def test_a_webhook_without_a_replica_is_found(admin: Cluster) -> None:
    with no_replica(admin):
        found = doctor(admin)

    assert found["part-not-ready"]["severity"] == "error"
    assert "spec.replicas=0" in found["part-not-ready"]["found"][0]


def test_a_blank_ca_bundle_is_found(admin: Cluster) -> None:
    (index,) = [n for n, each in enumerate(entries(admin)) if each["name"] == "execmetadata.exectrail.io"]
    with no_injector(admin):
        change(admin, {"op": "remove", "path": f"/webhooks/{index}/clientConfig/caBundle"})
        found = doctor(admin)

    assert found["ca-bundle"]["found"] == [
        "MutatingWebhookConfiguration exectrail: webhooks[execmetadata.exectrail.io].clientConfig.caBundle is empty"
    ]


def test_a_daemonset_that_is_gone_is_found_with_the_node_that_has_no_agent(admin: Cluster) -> None:
    admin.kubectl("delete", "daemonset", "exectrail-enricher", "-n", NAMESPACE, "--wait")
    try:
        left = ("pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=enricher")
        eventually(lambda: not admin.get(*left)["items"], MINUTE)
        found = doctor(admin)
    finally:
        install(admin)

    assert "component=enricher" in found["part-missing"]["found"][0]
    assert found["no-agent"]["found"][0].startswith(f"node {NODE_NAME}: no pod")


def test_a_user_who_may_list_only_pods_hears_what_else_is_needed(alice: Person) -> None:
    done = alice.cluster.exectrail("doctor", check=False)

    assert done.returncode == 2
    assert "--verb=list" in done.stderr


def contents(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        opened = {each.name: archive.extractfile(each) for each in archive.getmembers()}
        return {name.partition("/")[2]: file.read() for name, file in opened.items() if file}


def test_a_bundle_has_logs_and_statuses_and_no_secret_and_no_record(
    alice: Person, recorded: str, tmp_path: Path
) -> None:
    uid, _ = alice.executes(recorded, "sh", "-c", "id")
    path = tmp_path / "case.tar.gz"

    alice.admin.exectrail("doctor", "--bundle", str(path), check=False)

    found = contents(path)
    assert json.loads(found["doctor.json"])["release"] == {"namespace": NAMESPACE, "instance": "exectrail"}
    assert json.loads(found["nodetrails.json"])[0]["metadata"]["name"] == NODE_NAME
    for container in ("webhook", "controller", "enricher", "installer"):
        assert any(name.endswith(f".{container}.log") and content for name, content in found.items()), container
    whole = b"".join(found.values())
    secrets = alice.admin.get("secrets", "-n", NAMESPACE)["items"]
    # Certificates are no secrets: `caBundle` is one of them.
    values = [
        value for each in secrets for key, value in each.get("data", {}).items() if value and not key.endswith(".crt")
    ]
    assert values
    assert [value for value in values if value.encode() in whole or base64.b64decode(value) in whole] == []
    assert uid.encode() not in whole
    records = [json.loads(line)["auditID"] for line in whole_lines(Path(TRAIL).read_bytes())[-1000:]]
    assert [each for each in records if each.encode() in whole] == []


@pytest.mark.values("logs.mode=stdout", "enricher.quota=20")
def test_a_bundle_has_no_record_where_the_enrichers_log_is_the_trail(
    alice: Person, recorded: str, tmp_path: Path
) -> None:
    alice.does("exec", "-n", recorded, "web", "-c", "app", "--", "sh", "-c", "id")
    log = ("logs", "-n", NAMESPACE, "ds/exectrail-enricher")
    eventually(lambda: '"auditID"' in alice.admin.kubectl(*log).stdout)
    path = tmp_path / "case.tar.gz"

    alice.admin.exectrail("doctor", "--bundle", str(path), check=False)

    found = contents(path)
    (enricher,) = [content for name, content in found.items() if name.endswith(".enricher.log")]
    assert b"lines were left out that are no log lines of exectrail" in enricher
    assert b"auditID" not in b"".join(found.values())
