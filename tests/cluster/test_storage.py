"""The trail on the node's disk, and that it is whole there."""

from pathlib import Path

from exectrail.contracts.record import decode
from exectrail.contracts.seal import seal

from .cluster import Cluster
from .product import NAMESPACE, TRAIL, looked_into
from .sessions import Person, whole_lines

_BURST = "for i in $(seq 200); do /bin/true $i; done"


def test_every_line_is_chained_to_the_one_before(alice: Person, recorded: str) -> None:
    since = Path(TRAIL).stat().st_size
    alice.executes(recorded, "sh", "-c", "id; id; id")

    _check_chain(since)


def _check_chain(since: int) -> None:
    """Every line of the trail from this offset on: a release that wrote elsewhere for a while leaves a jump."""
    lines = whole_lines(Path(TRAIL).read_bytes()[since:])
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


def test_a_stopped_enricher_has_written_all_that_it_read_and_goes_on_with_the_chain(
    alice: Person, admin: Cluster, recorded: str
) -> None:
    since = Path(TRAIL).stat().st_size
    looked_into(f"{recorded}/web/app")
    _, session = alice.does("exec", "-n", recorded, "web", "-c", "app", "--", "sh", "-c", _BURST)
    admin.kubectl("delete", "pod", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=enricher", "--wait")
    admin.kubectl("rollout", "status", "-n", NAMESPACE, "ds/exectrail-enricher", "--timeout=60s")

    lines = whole_lines(Path(TRAIL).read_bytes()[since:])
    mine = [r for r in map(decode, lines) if r.request_uid == session["metadata"]["name"]]
    numbers = [r.argv[1] for r in mine if r.argv and r.argv[0] == "/bin/true"]
    assert numbers == [str(i) for i in range(1, 201)]
    alice.executes(recorded, "true")
    _check_chain(since)
