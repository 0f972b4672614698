"""What differs where the node is a container of the machine, as kind's are (`make test-nested`); right on either."""

import uuid
from pathlib import Path

from enricher import pid_namespace

from .cluster import Cluster, eventually
from .sessions import trail


def test_nodetrail_says_which_audit_source_there_is_and_why(admin: Cluster) -> None:
    """Audit is the machine's."""
    status = eventually(lambda: admin.get("nodetrail", "node1").get("status"), 60)
    nested = pid_namespace.is_nested()

    assert status["sensor"] == "bpf"
    assert status["auditSource"] == ("none" if nested else "netlink")
    assert ("this node is itself a container" in status["auditSourceReason"]) == nested


def test_a_record_has_the_pid_that_the_nodes_own_proc_shows(admin: Cluster, recorded: str) -> None:
    command = ("cat", "-", f"/{uuid.uuid4()}")
    waiting = admin.start("kubectl", "exec", "-i", "-n", recorded, "web", "-c", "app", "--", *command)
    try:
        (pid,) = eventually(lambda: pids_of(*command))
        (record,) = eventually(lambda: [each for each in trail() if each.kind == "exec" and each.argv == list(command)])
    finally:
        waiting.communicate(timeout=30)

    assert (record.pid, record.origin) == (pid, "session")


def pids_of(*argv: str) -> list[int]:
    """The processes that run this command now."""
    wanted = "".join(f"{word}\0" for word in argv).encode()
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*") if _argv(folder) == wanted]


def _argv(folder: Path) -> bytes:
    try:
        return (folder / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
