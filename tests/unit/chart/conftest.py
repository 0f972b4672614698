"""Renders the chart with the real helm."""

import copy
import json
import os
import subprocess
from contextlib import ExitStack
from typing import Any

import pytest
import yaml

from tests.cluster.node.build import go_build
from tests.cluster.node.components import HELM_BUILD
from tests.unit.chart.live_cluster import serving
from tests.unit.chart.rendered import CHART, Document, HelmTemplate, RunHelm


@pytest.fixture(scope="session")
def helm() -> str:
    """Helm: `$HELM`, else the version that the test cluster uses. `make` builds it before a test's time runs."""
    return os.environ.get("HELM") or str(go_build(HELM_BUILD) / "helm")


@pytest.fixture(scope="session")
def run_helm(helm: str) -> RunHelm:
    """`helm template`, whether it succeeds or not; with `live` in a cluster that has these objects."""

    def run(
        values: Document | None = None,
        *,
        release: str = "exectrail",
        namespace: str = "exectrail",
        live: list[Document] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        command = [helm, "template", release, str(CHART), "--namespace", namespace, "--values", "-"]
        with ExitStack() as stack:
            if live is not None:
                address = stack.enter_context(serving(live))
                command += ["--dry-run=server", "--disable-openapi-validation", f"--kube-apiserver={address}"]
            return subprocess.run(command, input=json.dumps(values or {}), capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def helm_template(run_helm: RunHelm) -> HelmTemplate:
    """The rendered objects; the test fails when helm refuses."""

    rendered: dict[str, list[Document]] = {}

    def template(
        values: Document | None = None,
        *,
        release: str = "exectrail",
        namespace: str = "exectrail",
        live: list[Document] | None = None,
    ) -> list[Document]:
        key = json.dumps([values, release, namespace, live])
        if key not in rendered:
            result = run_helm(values, release=release, namespace=namespace, live=live)
            if result.returncode:
                pytest.fail(f"helm refused {values}: {result.stderr}")
            rendered[key] = [each for each in yaml.load_all(result.stdout, UniqueKeyLoader) if each]
        return copy.deepcopy(rendered[key])

    return template


class UniqueKeyLoader(yaml.SafeLoader):
    """Refuses a key that a mapping has twice: YAML readers differ in which one they keep."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"keys given twice: {twice}", node.start_mark)
        return super().construct_mapping(node, deep)
