"""Where the trail goes, and that it is whole there."""

import json
import shutil
from pathlib import Path

from exectrail.record import Record, decode
from exectrail.seal import seal

from .cluster import Cluster, eventually
from .product import NAMESPACE, TRAIL, Release
from .sessions import Person, programs, trail

_BURST = "for i in $(seq 200); do /bin/true $i; done"
_VOLUME = Path("/var/lib/exectrail-test-volume")


def test_every_line_is_chained_to_the_one_before(alice: Person, recorded: str) -> None:
    since = Path(TRAIL).stat().st_size
    alice.executes(recorded, "sh", "-c", "id; id; id")

    _check_chain(since)


def _check_chain(since: int) -> None:
    """Every line of the trail from this offset on: a release that wrote elsewhere for a while leaves a jump."""
    lines = Path(TRAIL).read_bytes()[since:].splitlines()
    records = [decode(line) for line in lines]
    assert records
    assert [record.seq for record in records] == list(range(records[0].seq, records[0].seq + len(records)))
    assert [record.prev for record in records[1:]] == [seal(line) for line in lines[:-1]]


def test_only_the_readers_group_may_read_the_file() -> None:
    file = Path(TRAIL).stat()

    assert (file.st_mode & 0o777, file.st_uid, file.st_gid) == (0o640, 0, 65532)
    assert Path(TRAIL).parent.stat().st_mode & 0o777 == 0o750


def test_the_reader_can_read_and_do_nothing_else(admin: Cluster) -> None:
    reader = ("exec", "-n", NAMESPACE, "ds/exectrail-node", "-c", "reader", "--")

    assert admin.kubectl(*reader, "head", "-c", "1", "/trail/trail.jsonl").stdout == "{"
    assert admin.kubectl(*reader, "sh", "-c", "echo >> /trail/trail.jsonl", check=False).returncode != 0
    assert admin.kubectl(*reader, "ls", "/var/run/secrets", check=False).returncode != 0


def test_stdout_mode_writes_clean_lines_into_the_pods_log(alice: Person, release: Release, recorded: str) -> None:
    release.with_values("logs.mode=stdout")
    done, session = alice.does("exec", "-n", recorded, "web", "-c", "app", "--", "sh", "-c", "id; exit 6", check=False)
    uid = session["metadata"]["name"]

    def shown() -> str:
        text = alice.admin.exectrail("show", uid).stdout
        assert "└── id" in text
        return text

    assert "alice" in eventually(shown)
    assert done.returncode == 6
    log = alice.admin.kubectl("logs", "-n", NAMESPACE, "ds/exectrail-enricher").stdout
    assert all(json.loads(line) for line in log.splitlines())


def test_pvc_mode_keeps_the_trail_on_a_volume_under_the_nodes_name(
    alice: Person, release: Release, recorded: str
) -> None:
    _volume(alice.admin)
    release.with_values("logs.mode=pvc", "logs.pvc.existingClaim=trails")
    file = _VOLUME / "trail-node1.jsonl"
    _, session = alice.does("exec", "-n", recorded, "web", "-c", "app", "--", "id")
    uid = session["metadata"]["name"]

    def complete() -> list[Record]:
        records = [record for record in trail(str(file)) if record.request_uid == uid]
        assert any(record.phase == "end" for record in records)
        return records

    assert programs(eventually(complete)) == ["env", "id"]
    assert "id" in alice.admin.exectrail("show", uid).stdout
    release.with_values()
    shutil.rmtree(_VOLUME)


def _volume(admin: Cluster) -> None:
    """A volume on the node's disk, and a claim that binds it."""
    _VOLUME.mkdir(exist_ok=True)
    common = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany"], "storageClassName": "test"}
    claim = {
        "accessModes": common["accessModes"],
        "storageClassName": "test",
        "resources": {"requests": common["capacity"]},
    }
    admin.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "trails"},
            "spec": {**common, "hostPath": {"path": str(_VOLUME)}},
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "trails", "namespace": NAMESPACE},
            "spec": claim,
        },
    )


def test_a_stopped_enricher_has_written_all_that_it_read_and_goes_on_with_the_chain(
    alice: Person, admin: Cluster, recorded: str
) -> None:
    since = Path(TRAIL).stat().st_size
    alice.does("exec", "-n", recorded, "web", "-c", "app", "--", "sh", "-c", _BURST)
    admin.kubectl("delete", "pod", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=enricher", "--wait")
    admin.kubectl("rollout", "status", "-n", NAMESPACE, "ds/exectrail-enricher", "--timeout=60s")

    numbers = [r.argv[1] for r in trail() if r.kind == "exec" and r.argv and r.argv[0] == "/bin/true"]

    assert numbers[-200:] == [str(i) for i in range(1, 201)]
    alice.executes(recorded, "true")
    _check_chain(since)
