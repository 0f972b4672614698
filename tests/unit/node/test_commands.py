"""`python3 -m tests.cluster.node`: who may run which command."""

import os

import pytest

from tests.cluster.node import __main__ as node
from tests.cluster.node.components import HELM_BUILD, GoBuild


@pytest.fixture(autouse=True)
def built(monkeypatch: pytest.MonkeyPatch) -> list[GoBuild]:
    """What was built; by somebody who isn't root."""
    builds: list[GoBuild] = []
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(node, "go_build", builds.append)
    return builds


def run(monkeypatch: pytest.MonkeyPatch, command: str) -> int:
    monkeypatch.setattr("sys.argv", ["node", command])
    return node.main()


def test_helm_for_the_tests_of_the_chart_is_built_without_root(
    built: list[GoBuild], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(monkeypatch, "helm") == 0
    assert built == [HELM_BUILD]


def test_the_node_needs_root(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "up") == 1
    assert "needs root" in capsys.readouterr().err
