"""The enricher as a node runs it, with the sensor that it chooses there."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel import test_restart
from tests.kernel.test_restart import Node, chain

ROOT = Path("/sys/fs/cgroup")
AS_IN_ITS_CONTAINER = """#!/bin/sh
exec setpriv --bounding-set=-all,{0} --inh-caps=-all,{0} {1} "$@"
"""
CAPABILITIES = "+bpf,+perfmon,+net_admin,+audit_read,+sys_ptrace,+dac_read_search"


@pytest.fixture
def machine() -> dict[str, Any]:
    """What the table says of this machine."""
    settings: dict[str, Any] = json.loads(Path("/settings.json").read_text())
    return settings


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """A node with pods in the tree that its kubelet would use, and an enricher that may do what the chart lets it."""
    python = tmp_path / "python"
    python.write_text(AS_IN_ITS_CONTAINER.format(CAPABILITIES, sys.executable))
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    tree = next(tree for tree in (ROOT, ROOT / "unified", ROOT / "memory") if (tree / "cgroup.procs").exists())
    monkeypatch.setattr(test_restart, "v2_tree", lambda: tree)
    node = Node(tmp_path)
    yield node
    node.remove()


def test_it_records_with_the_best_sensor_that_the_kernel_allows(node: Node, machine: dict[str, Any]) -> None:
    node.start("auto", "--cgroup-root", ROOT)
    node.container.run("sleep", "1.5")  # long enough for each sensor to see what it is

    record = node.ran("sleep", "1.5")
    assert record.source == machine["sensor"]
    chain(node)


def test_it_says_why_a_sensor_cannot_be_had(node: Node, machine: dict[str, Any]) -> None:
    node.start("auto", "--cgroup-root", ROOT)

    said = [line for line in node.log().splitlines() if "no sensor" in line]
    assert len(said) == len(machine["missing"])
    for line, missing in zip(said, machine["missing"], strict=True):
        assert missing in line, line
