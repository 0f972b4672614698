"""A log collector as small as can be: from a container's log files to Loki, as the recipe config.alloy says.

Which files, labels and metadata these are is read from there, so that a query that works here works with Alloy.
"""

import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from .node.paths import REPOSITORY

CONFIG = REPOSITORY / "docs/tasks/log-stores/config.alloy"
_TIME = re.compile(rb"(.+)\.(\d+)(\D.*)")


class Recipe(Struct, frozen=True):
    """What a collector makes of the lines."""

    files: str
    """Where they are, as a glob pattern."""
    fixed: dict[str, str]
    """Labels of every line."""
    paths: dict[str, str]
    """By name, where a label or metadata stands in a record: `node.name`."""
    labels: list[str]
    metadata: list[str]


class Line(Struct, frozen=True):
    """A line of a container, whole."""

    written: int
    """When, in nanoseconds since 1970."""
    text: str


def recipe(text: str = CONFIG.read_text()) -> Recipe:
    """What Alloy's configuration says."""
    fixed = _pairs(text, 'local.file_match "trail"')
    return Recipe(
        files=fixed.pop("__path__"),
        fixed=fixed,
        paths=_pairs(text, "stage.json"),
        labels=list(_pairs(text, "stage.labels")),
        metadata=list(_pairs(text, "stage.structured_metadata")),
    )


def _pairs(text: str, block: str) -> dict[str, str]:
    """The `name = "value"` in a block, which ends where its brace is indented as its beginning."""
    found = re.search(rf"^(\t*){re.escape(block)} {{\n(.*?)^\1}}$", text, re.MULTILINE | re.DOTALL)
    assert found, f"no block {block}"
    return dict(re.findall(r'"?(\w+)"?\s+= "([^"]*)"', found[2]))


def whole_lines(file: Iterable[bytes], stream: bytes = b"stdout") -> Iterator[Line]:
    """What a container wrote to one of its streams, from a file of the container runtime.

    `TIME STREAM F|P TEXT`, where `P` marks all but the last piece of a line that was cut:
    https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md
    """
    pieces: list[bytes] = []
    for line in file:
        time, of, tag, text = line.rstrip(b"\n").split(b" ", 3)
        if of != stream:
            continue
        pieces.append(text)
        if tag == b"F":
            # A cut may go through a character: decoded as a whole.
            yield Line(_nanoseconds(time), b"".join(pieces).decode())
            pieces.clear()


def _nanoseconds(time: bytes) -> int:
    """Datetime has microseconds only, and lines in one of them would be one."""
    found = _TIME.fullmatch(time)
    assert found, time
    seconds = datetime.fromisoformat((found[1] + found[3]).decode()).timestamp()
    return int(seconds) * 1_000_000_000 + int(found[2].ljust(9, b"0"))


def read(recipe: Recipe) -> list[Line]:
    """All lines that are there now."""
    root = Path("/")
    files = sorted(root.glob(recipe.files.lstrip("/")), key=lambda file: file.stat().st_mtime)
    assert files, f"no file {recipe.files}"
    return [line for file in files for line in whole_lines(file.read_bytes().splitlines(keepends=True))]


def streams(recipe: Recipe, lines: Iterable[Line]) -> list[dict[str, Any]]:
    """The body of a push: https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs"""
    made: dict[str, dict[str, Any]] = {}
    for line in lines:
        record = json.loads(line.text)
        found = {name: value for name, path in recipe.paths.items() if (value := _at(record, path)) is not None}
        labels = recipe.fixed | {name: found[name] for name in recipe.labels if name in found}
        metadata = {name: found[name] for name in recipe.metadata if name in found}
        stream = made.setdefault(json.dumps(labels), {"stream": labels, "values": []})
        stream["values"].append([str(line.written), line.text, metadata])
    return list(made.values())


def _at(record: Any, path: str) -> Any:
    for key in path.split("."):
        record = (record or {}).get(key)
    return record
