"""A node with auditd, whose log is the source of SECCOMP records."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from exectrail.contracts.record import Record
from tests.kernel.auditd import Auditd, running_auditd

from .cluster import Cluster, eventually
from .node.paths import LOG as NODE_LOG
from .sessions import Person

LOG = NODE_LOG / "auditd/audit.log"
_PATH = f"enricher.auditLog.path={LOG}"


@pytest.fixture
def auditd(tmp_path: Path) -> Iterator[Auditd]:
    """An auditd on the node. The log's folder stays: an enricher that has it mounted would follow another one."""
    with running_auditd(tmp_path, LOG, log_group="root") as running:
        yield running
    for file in LOG.parent.iterdir():
        file.unlink()


def executed(alice: Person, namespace: str) -> list[Record]:
    """The execs of a session that runs two programs."""
    _, records = alice.executes(namespace, "sh", "-c", "/bin/true 1; /bin/true 2")
    return [record for record in records if record.kind == "exec"]


def reported(admin: Cluster, source: str, reason: str) -> None:
    def said() -> bool:
        status = admin.get("nodetrail", "node1")["status"]
        assert (status["auditSource"], status["auditSourceReason"]) == (source, reason)
        assert "lost" in status["weak"]
        return True

    eventually(said, 60)


@pytest.mark.values("enricher.auditSource=auditlog", _PATH)
def test_auditd_is_followed_while_it_runs_is_stopped_and_runs_again(
    auditd: Auditd, alice: Person, admin: Cluster, profiled: str
) -> None:
    reported(admin, "auditlog", "chosen by --audit-source=auditlog")

    assert {record.source for record in executed(alice, profiled)} == {"bpf+auditlog"}

    auditd.stop()
    without = executed(alice, profiled)
    assert {record.source for record in without} == {"bpf"}
    assert [record.argv for record in without][-2:] == [["/bin/true", "1"], ["/bin/true", "2"]]

    auditd.start()
    assert {record.source for record in executed(alice, profiled)} == {"bpf+auditlog"}
