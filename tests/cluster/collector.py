"""A real OpenTelemetry Collector, as the recipe otel-collector.yaml sets it up, that writes to a file."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from .node.build import go_build
from .node.components import COLLECTOR_BUILD
from .node.paths import REPOSITORY
from .program import beside
from .sessions import whole_lines

CONFIG = REPOSITORY / "docs/tasks/log-stores/otel-collector.yaml"


@contextmanager
def collecting(folder: Path) -> Iterator["Collected"]:
    """Run it, with all that it writes in a folder."""
    settings = yaml.safe_load(_recipe(folder))
    output, log = folder / "collected.json", folder / "collector.log"
    settings["exporters"] = {"file": {"path": str(output)}}
    settings["service"]["pipelines"]["logs"]["exporters"] = ["file"]
    settings["service"]["telemetry"] = {"metrics": {"level": "none"}}
    file = folder / "collector.yaml"
    file.write_text(yaml.safe_dump(settings))
    with beside([_program(), f"--config={file}"], log) as process:
        yield Collected(output, log, process)


def complaints(folder: Path) -> str:
    """What the collector's own check says against the recipe as it is; nothing, if all is well."""
    file = folder / "recipe.yaml"
    file.write_text(_recipe(folder))
    environment = {**os.environ, "OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    check = (str(_program()), "validate", f"--config={file}")
    done = subprocess.run(check, env=environment, capture_output=True, text=True, check=False, timeout=60)
    return f"{done.stdout}{done.stderr}" if done.returncode else ""


def _recipe(folder: Path) -> str:
    return CONFIG.read_text().replace("/var/lib/otelcol", str(folder))


def _program() -> Path:
    return go_build(COLLECTOR_BUILD) / "otel-collector"


class Collected:
    """What it has collected so far."""

    def __init__(self, output: Path, log: Path, process: subprocess.Popen[bytes]) -> None:
        self._output, self._log, self._process = output, log, process

    def lines(self) -> list[str]:
        """The lines, in their order."""
        assert self._process.poll() is None, self._log.read_text()[-3000:]
        requests = map(json.loads, whole_lines(self._output.read_bytes()) if self._output.exists() else ())
        return [
            record["body"]["stringValue"]
            for request in requests
            for resource in request["resourceLogs"]
            for scope in resource["scopeLogs"]
            for record in scope["logRecords"]
        ]
