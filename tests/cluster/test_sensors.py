"""The sensor in use follows the capabilities that values give, and each reports what it can."""

import pytest

from .cluster import Cluster, eventually
from .product import NAMESPACE
from .sessions import Person, programs


@pytest.mark.values("enricher.capabilities.bpf=false", "enricher.capabilities.netAdmin=true")
def test_without_ebpf_the_proc_connector_reports_every_process_and_marks_what_may_be_missing(
    alice: Person, admin: Cluster, recorded: str
) -> None:
    def reported() -> list[str]:
        status = admin.get("nodetrail", "node1")["status"]
        assert status["sensor"] == "procconn"
        return list(status["weak"])

    assert "argv" in eventually(reported, 60)
    log = admin.kubectl("logs", "-n", NAMESPACE, "ds/exectrail-enricher").stdout
    assert "no sensor bpf: missing CAP_PERFMON and CAP_BPF" in log

    _, records = alice.executes(recorded, "sh", "-c", "sleep 0.2; (sleep 0.1; exit 7) & wait; exit 3", code=3)

    assert {record.user for record in records} == {"alice"}
    assert "sh" in programs(records)
    clones = [record for record in records if record.kind == "clone"]
    exits = [record for record in records if record.kind == "exit"]
    assert len(clones) == 3
    assert sorted(record.exit.code or 0 for record in exits if record.exit) == [0, 0, 3, 7]
    assert records[-1].exit
    assert records[-1].exit.code == 3

    # An entry that ends before it is looked at is lost (`vanished`). What a known one starts is reported in any case.
    loop = "for i in 1 2 3 4 5 6 7 8 9; do /bin/true arg$i; done"
    _, many = alice.executes(recorded, "sh", "-c", f"sleep 0.5; {loop}")

    commands = [record for record in many if record.kind == "exec" and record.process_key != record.entry_key]
    ran = commands[1:]  # after `sleep`
    assert len(ran) == 9
    for number, record in enumerate(ran, 1):
        assert record.argv == ["/bin/true", f"arg{number}"] or "argv" in (record.weak or [])
