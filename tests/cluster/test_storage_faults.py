"""The trail on a volume: rotated under load, full, read-only, wanted by two; and filters that change meanwhile."""

import copy
import json
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from exectrail.contracts.record import Record

from . import volume
from .cluster import Cluster, eventually
from .product import NAMESPACE, Release, looked_into
from .sessions import Person, check_equation, programs

_VALUES = (
    "logs.mode=pvc",
    f"logs.pvc.existingClaim={volume.CLAIM}",
    "logs.auditLogMaxSize=1",
    "enricher.filters[0].level=None",
    "enricher.filters[0].matchKeys[0]=argv",
    "enricher.filters[0].matchValues[0]=dropped",
)
pytestmark = pytest.mark.values(*_VALUES)
# Arguments of 60 kB: a few hundred execs are more than the 16 MiB of records that may wait.
_LARGE = "x=$(head -c 60000 /dev/zero | tr '\\0' x); for i in $(seq {}); do /bin/true $x; done"
_MANY = 2000


class Inside:
    """Alice, and what she runs in the recorded pod."""

    def __init__(self, namespace: str) -> None:
        self.person = Person(Cluster(), Cluster("alice"))
        self.namespace = namespace

    def runs(self, *command: str) -> str:
        """Run it; returns the request's UID."""
        there = ("-n", self.namespace, "web", "-c", "app")
        _, session = self.person.does("exec", *there, "--", *command)
        return str(session["metadata"]["name"])


@pytest.fixture(scope="module")
def inside(release: Release, recorded: str) -> Iterator[Inside]:
    """The release with its trail on a small volume, in segments of 1 MB."""
    admin = Cluster()
    with volume.claimed(admin):
        release.with_values(*_VALUES)
        looked_into(f"{recorded}/web/app")
        yield Inside(recorded)


def complete(uid: str) -> list[Record]:
    """A session's records once its end is among them."""

    def look() -> list[Record]:
        found = [record for record in volume.records() if record.request_uid == uid]
        assert any(record.phase == "end" for record in found), f"no end among {len(found)} records"
        return found

    return eventually(look)


def ask(path: str) -> tuple[int, str]:
    """Status and text of what the enricher answers."""
    with closing(HTTPConnection("127.0.0.1", 9464, timeout=10)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def unready() -> str:
    """Why the enricher is not ready; nothing where it is."""
    status, text = ask("/readyz")
    return "" if status == 200 else text


def metric(name: str, **labels: str) -> float:
    families = text_string_to_metric_families(ask("/metrics")[1])
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def enricher_pod(admin: Cluster) -> dict[str, Any]:
    labels = "app.kubernetes.io/component=enricher"
    (pod,) = admin.get("pods", "-n", NAMESPACE, "-l", labels)["items"]
    return dict(pod)


def restarts(admin: Cluster) -> tuple[str, int]:
    pod = enricher_pod(admin)
    return pod["metadata"]["name"], pod["status"]["containerStatuses"][0]["restartCount"]


def test_the_trail_is_on_the_volume_under_the_nodes_name(inside: Inside) -> None:
    uid = inside.runs("id")

    assert programs(complete(uid)) == ["env", "id"]
    assert "id" in inside.person.admin.exectrail("show", uid).stdout


def test_filters_drop_count_and_change_without_a_restart(inside: Inside) -> None:
    admin = inside.person.admin
    before = restarts(admin)
    uid = inside.runs("sh", "-c", "/bin/true dropped; /bin/true kept")

    assert [record.argv[1] for record in complete(uid) if record.argv and record.argv[0] == "/bin/true"] == ["kept"]
    eventually(lambda: metric("exectrail_enricher_filter_hits_total", rule="1") >= 1)

    change_filters(admin, [{"level": "None", "matchKeys": ["argv"], "matchValues": ["kept"]}])
    eventually(lambda: metric("exectrail_enricher_filter_hits_total", rule="1") == 0)
    uid = inside.runs("sh", "-c", "/bin/true dropped; /bin/true kept")

    assert [record.argv[1] for record in complete(uid) if record.argv and record.argv[0] == "/bin/true"] == ["dropped"]

    change_filters(admin, [{"level": "None", "matchKeys": ["arg"]}])
    refused = 'no record has a key \\"arg\\"'
    eventually(lambda: refused in admin.kubectl("logs", "-n", NAMESPACE, before[0]).stdout)
    eventually(lambda: metric("exectrail_enricher_filter_hits_total", rule="1") >= 1)  # those before stay in use
    assert restarts(admin) == before


def change_filters(admin: Cluster, rules: list[dict[str, Any]]) -> None:
    data = json.dumps({"data": {"filters.json": json.dumps(rules)}})
    admin.kubectl("patch", "configmap", "-n", NAMESPACE, "exectrail-filters", "--type=merge", "-p", data)
    # Any change of a pod has the kubelet look after its volumes now, and not in a minute.
    pod = enricher_pod(admin)["metadata"]
    mark = f"test/filters={hash(data)}"
    admin.kubectl("annotate", "pod", "-n", NAMESPACE, pod["name"], "--overwrite", mark)


def test_a_session_is_whole_while_its_trail_is_rotated_and_compressed(inside: Inside) -> None:
    uid = inside.runs("sh", "-c", f"for i in $(seq {_MANY}); do /bin/true $i; done")
    ran = [record.argv[1] for record in complete(uid) if record.argv and record.argv[0] == "/bin/true"]
    assert ran == [str(number) for number in range(1, _MANY + 1)]
    eventually(lambda: len(volume.compressed()) >= 2)

    shown = json.loads(inside.person.admin.exectrail("show", uid, "--output", "json").stdout)

    assert len(shown["processes"]) == _MANY + 2  # sh, seq
    check_equation()


def test_a_second_enricher_of_the_nodes_name_refuses_and_names_the_first(inside: Inside) -> None:
    admin = inside.person.admin
    before = restarts(admin)
    admin.apply(second_enricher(admin))
    try:
        eventually(lambda: logs_of(admin, "second").count("another enricher writes this trail") > 0, 60)
        log = logs_of(admin, "second")
    finally:
        admin.kubectl("delete", "pod", "-n", NAMESPACE, "second", "--now", "--wait=false")

    assert f"{volume.FILE.name}.lock is held by process" in log
    assert "cannot start" in log
    assert restarts(admin) == before
    assert programs(complete(inside.runs("id"))) == ["env", "id"]


def second_enricher(admin: Cluster) -> dict[str, Any]:
    """The same on the same volume, as from another cluster: with state and metrics of its own."""
    template = admin.get("daemonset", "exectrail-enricher", "-n", NAMESPACE)["spec"]["template"]
    spec = copy.deepcopy(template["spec"])
    (container,) = spec["containers"]
    container["args"] = [each for each in container["args"] if not each.startswith("--metrics-address")]
    container["args"].append("--metrics-address=127.0.0.1:9465")
    container["ports"] = []
    del container["livenessProbe"], container["readinessProbe"]
    for each in spec["volumes"]:
        if each["name"] == "state":
            each["emptyDir"] = each.pop("hostPath") and {}
    spec["restartPolicy"] = "Never"
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": NAMESPACE, "name": "second"}, "spec": spec}


def logs_of(admin: Cluster, pod: str) -> str:
    return admin.kubectl("logs", "-n", NAMESPACE, pod, check=False).stdout


def test_while_the_volume_is_read_only_records_wait_and_nothing_is_missing(inside: Inside) -> None:
    with volume.read_only(agent_pid(inside.person.admin)):
        eventually(lambda: "Read-only file system" in unready())
        uid = inside.runs("sh", "-c", "id; id")
        assert uid not in {record.request_uid for record in volume.records()}
    eventually(lambda: unready() == "")

    assert programs(complete(uid)) == ["env", "sh", "id", "id"]
    check_equation()


def agent_pid(admin: Cluster) -> int:
    """The enricher's process on the node."""
    container = enricher_pod(admin)["status"]["containerStatuses"][0]["containerID"].partition("://")[2]
    return int(admin.run("ctr", "task", "ps", container).stdout.split()[2])


def test_on_a_full_volume_the_kernel_is_read_on_and_what_finds_no_room_stands_in_a_gap(inside: Inside) -> None:
    before = metric("exectrail_enricher_lost_total", cause="storage")
    with volume.full():
        inside.runs("sh", "-c", _LARGE.format(20))
        eventually(lambda: "No space left on device" in unready())
        read = metric("exectrail_enricher_read_total")
        inside.runs("sh", "-c", _LARGE.format(300))
        eventually(lambda: metric("exectrail_enricher_lost_total", cause="storage") > before)
        assert metric("exectrail_enricher_read_total") > read + 500
    eventually(lambda: unready() == "")

    def gaps() -> list[Record]:
        found = [record for record in volume.records() if record.kind == "gap" and "storage" in (record.lost or {})]
        lost = metric("exectrail_enricher_lost_total", cause="storage") - before
        assert sum((record.lost or {})["storage"] for record in found) == lost
        return found

    assert eventually(gaps)
    check_equation()
    assert programs(complete(inside.runs("id"))) == ["env", "id"]
