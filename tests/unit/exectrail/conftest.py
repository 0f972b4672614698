"""A realistic trail: alice's shell in a pod, with bob's cut connection and a gap between her lines."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exectrail.contracts.record import VERSION, Exit, Kind, Node, Record, Request, Resource, UserInfo, encode
from exectrail.contracts.seal import GENESIS, seal

from .fake_cluster import FakeCluster

ALICE = "0b5e7c1e-6f1d-4a53-9d0c-4a8f6f0f3c11"
BOB = "7d1f0a44-92b3-4c0e-8f21-d5b1c9f7e802"
SCRIPT = "id; ls / | head -2; (sleep 0.1; true) & wait; exit 3"
DATA = Path(__file__).parent / "data"


class Writer:
    """Makes records as an enricher would: numbered, sealed, and with what is the same in all of them."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._prev = GENESIS
        self._ms = 120

    def write(self, kind: Kind, after_ms: int = 1, **fields: object) -> None:
        self._ms += after_ms
        seq = len(self.records)
        common: dict[str, object] = {
            "version": VERSION,
            "audit_id": f"9c7d0000-0000-4000-8000-{seq:012x}",
            "timestamp": f"2026-11-23T14:58:03.{self._ms:03}Z",
            "node": Node("node-1"),
            "resource": Resource("shop", "web-0", "app"),
            "source": "bpf",
        }
        record = Record(kind=kind, seq=seq, prev=self._prev, **common | fields)  # type: ignore[arg-type] # by keyword
        self._prev = seal(encode(record))
        self.records.append(record)

    def alice(
        self, kind: Kind, pid: int | None = None, parent: int | None = None, after_ms: int = 1, **fields: object
    ) -> None:
        mine: dict[str, Any] = {"user": "alice", "request_uid": ALICE, "state": "confirmed", "origin": "session"}
        if pid:
            mine |= {"pid": pid, "ppid": parent, "uid": 0, "gid": 0, "cwd": "/", "container_id": "4f2a91"}
            mine |= {"process_key": key(pid), "parent_key": key(parent), "entry_key": key(4711)}
        self.write(kind, after_ms, **(mine | fields))


def key(pid: int | None) -> str | None:
    return f"b00710ad-{pid}-{8000 + pid}" if pid else None


@pytest.fixture
def alice_trail() -> list[Record]:
    """`kubectl exec web-0 -- sh -c '...'`, as dash and coreutils carry it out, and what else happened on the node."""
    trail = Writer()
    told: dict[str, Any] = {
        "request": Request("exec", "pods/exec", ["sh", "-c", SCRIPT], tty=False),
        "user_info": UserInfo(["developers", "system:authenticated"]),
        "image": "docker.io/library/debian:12-slim",
        "pod_uid": "5f0c6c1a-0000-4000-8000-00000000a11c",
        "cluster_uid": "c0ffee00-0000-4000-8000-000000000001",
    }
    trail.alice("session", phase="start", **told)
    tagged = ["env", f"SPO_EXEC_REQUEST_UID={ALICE}", "sh", "-c", SCRIPT]
    trail.alice("exec", 4711, 4702, program="/usr/bin/env", executable="/usr/bin/runc", argv=tagged)
    trail.alice("exec", 4711, 4702, program="/usr/bin/sh", executable="/usr/bin/env", argv=["sh", "-c", SCRIPT])
    trail.alice("clone", 4712, 4711)
    trail.alice("exec", 4712, 4711, program="/usr/bin/id", executable="/usr/bin/dash", argv=["id"])
    trail.write("exec", pid=99, argv=["pg_isready"], program="/usr/bin/pg_isready", origin="probe")
    trail.alice("exit", 4712, 4711, 2, exit=Exit(0), duration_ms=4)
    trail.alice("clone", 4713, 4711)
    trail.alice("clone", 4714, 4711)
    trail.alice("exec", 4714, 4711, program="/usr/bin/head", executable="/usr/bin/dash", argv=["head", "-2"])
    trail.alice("exec", 4713, 4711, program="/usr/bin/ls", executable="/usr/bin/dash", argv=["ls", "/"])
    trail.alice("exit", 4714, 4711, 2, exit=Exit(0), duration_ms=5)
    trail.alice("exit", 4713, 4711, exit=Exit(signal="SIGPIPE"), duration_ms=7)
    trail.alice("clone", 4715, 4711)
    trail.alice("clone", 4716, 4715)
    trail.alice("exec", 4716, 4715, program="/usr/bin/sleep", executable="/usr/bin/dash", argv=["sleep", "0.1"])
    trail.write("gap", lost={"ring": 3}, resource=None, reason="overrun")
    bob: dict[str, Any] = {
        "user": "bob",
        "request_uid": BOB,
        "state": "confirmed",
        "resource": Resource("shop", "db-0", ""),
    }
    trail.write("session", phase="start", request=Request("portforward", "pods/portforward"), **bob)
    trail.alice("exit", 4716, 4715, 101, exit=Exit(0), duration_ms=102)
    trail.alice("exit", 4715, 4711, exit=Exit(0), duration_ms=104)
    trail.alice("exit", 4711, 4702, exit=Exit(3), duration_ms=124)
    trail.alice("session", phase="end", outcome="completed", exit=Exit(3), duration_ms=126, processes=6, **told)
    return trail.records


@pytest.fixture
def alice_uid() -> str:
    return ALICE


@pytest.fixture
def alice_file(alice_trail: list[Record], tmp_path: Path) -> Path:
    path = tmp_path / "trail.jsonl"
    path.write_bytes(b"".join(map(encode, alice_trail)))
    return path


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.delenv("KUBECTL", raising=False)
    return FakeCluster(folder)


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compare with a file of `data/`; with WRITE_GOLDEN=1 in the environment write it instead, to be reviewed."""

    def compare(name: str, actual: str) -> None:
        if os.environ.get("WRITE_GOLDEN") == "1":
            (DATA / name).write_text(actual, encoding="utf-8")
        assert (DATA / name).read_text(encoding="utf-8") == actual

    return compare
