"""The index template knows every field of a record and its type: nothing is guessed, and nothing is refused."""

import json
import re
import types
import typing
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from exectrail.contracts.record import Record

REPO = Path(__file__).parents[2]
TEMPLATE = json.loads((REPO / "docs/tasks/log-stores/elasticsearch-index-template.json").read_text())
MAPPINGS = TEMPLATE["template"]["mappings"]
GOLDEN = sorted((REPO / "tests/unit").glob("*/*/*.jsonl"))
LINES = [
    (f"{file.stem}:{number}", line) for file in GOLDEN for number, line in enumerate(file.read_text().splitlines(), 1)
]

LONGEST_TERM = 32_766
"""Bytes. Lucene refuses a longer one, and with it the document, unless `ignore_above` leaves it out."""
LONGEST_KEY = 4_000
OURS = {
    "version",
    "auditID",
    "processKey",
    "parentKey",
    "entryKey",
    "containerID",
    "errno",
    "action",
    "requestUID",
    "candidates",
}
OURS |= {"podUID", "clusterUID", "source", "weak", "truncated", "reason", "syscalls", "exit.signal", "prev"}
OURS |= {"node.name", "resource.namespace", "resource.pod", "resource.container", "request.verb", "request.resource"}
"""Texts that we or Kubernetes make, and keep short; all others are as long as somebody likes."""


def leaves(properties: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Path and mapping of every field of the template."""
    for name, mapping in properties.items():
        if "properties" in mapping:
            yield from leaves(mapping["properties"], f"{prefix}{name}.")
        else:
            yield prefix + name, mapping


FIELDS = dict(leaves(MAPPINGS["properties"]))


def typed(struct: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Path and type of every field of a record, None left out."""
    for field in msgspec.structs.fields(struct):
        (kind,) = [each for each in members(field.type) if each is not types.NoneType]
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            yield from typed(kind, f"{prefix}{field.encode_name}.")
        else:
            yield prefix + field.encode_name, kind


def members(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if typing.get_origin(kind) in {types.UnionType, typing.Union} else (kind,)


TYPES = dict(typed(Record))


def is_moment(value: str) -> bool:
    """`strict_date_time`: with a fraction and a zone."""
    return datetime.fromisoformat(value).tzinfo is not None and value[19] == "."


TAKES: dict[str, Callable[[Any], bool]] = {
    "keyword": lambda value: isinstance(value, str),
    "text": lambda value: isinstance(value, str),
    "long": lambda value: type(value) is int and -(2**63) <= value < 2**63,
    "boolean": lambda value: isinstance(value, bool),
    "date": is_moment,
    "flattened": lambda value: isinstance(value, dict),
    "object": lambda value: all(type(each) is int for each in value.values()),
}


def fits(value: Any, mapping: dict[str, Any]) -> bool:
    """Whether Elasticsearch takes a value, or a list of them, for a field of this mapping."""
    return all(map(TAKES[mapping["type"]], value if isinstance(value, list) else [value]))


def values(document: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Path and value of everything in a document; nulls are no values."""
    for name, value in document.items():
        path = prefix + name
        if isinstance(value, dict) and path not in FIELDS:
            yield from values(value, f"{path}.")
        elif value is not None:
            yield path, value


def misfits(line: str | bytes) -> list[str]:
    found = dict(values(json.loads(line)))
    return [path for path, value in found.items() if path not in FIELDS or not fits(value, FIELDS[path])]


@pytest.mark.parametrize("line", [line for _, line in LINES], ids=[name for name, _ in LINES])
def test_every_golden_record_fits_field_by_field(line: str) -> None:
    assert misfits(line) == []


def sample(path: str, kind: Any) -> Any:
    """A large value of a field."""
    if path in {"timestamp", "since"}:
        return "2026-11-23T15:57:06.917Z"
    if typing.get_origin(kind) is Literal:
        return typing.get_args(kind)[0]
    largest = {int: 2**62, bool: True, str: "x" * 65_536, list[str]: ["x" * 65_536], dict[str, int]: {"y": 2**62}}
    return largest.get(kind) or {"authentication.kubernetes.io/credential-id": ["X509"]}


def test_a_record_of_all_fields_at_their_largest_fits() -> None:
    document: dict[str, Any] = {}
    for path, kind in TYPES.items():
        *parents, name = path.split(".")
        place = document
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = sample(path, kind)
    msgspec.convert(document, Record)

    assert misfits(json.dumps(document)) == []


def test_the_template_has_the_fields_of_a_record_and_no_other() -> None:
    assert set(FIELDS) - {"@timestamp"} == set(TYPES)


def test_no_fields_type_is_guessed() -> None:
    assert (MAPPINGS["dynamic"], MAPPINGS["date_detection"]) == (False, False)
    open_ones = [path for path, mapping in FIELDS.items() if "dynamic" in mapping]
    assert open_ones == [path for path, kind in TYPES.items() if kind == dict[str, int]]
    rules = [rule for template in MAPPINGS["dynamic_templates"] for rule in template.values()]
    numbers = {"match_mapping_type": "long", "mapping": {"type": "long"}}
    assert rules == [{"path_match": f"{path}.*", **numbers} for path in open_ones]


def test_no_cause_of_loss_has_a_dot_which_would_make_it_an_object() -> None:
    page = (REPO / "docs/tasks/troubleshooting.md").read_text()
    section = page.partition("\n## What was lost?\n")[2].partition("\n## ")[0]
    causes = re.findall(r"^\| `([^`]+)`", section, re.MULTILINE)
    assert causes
    assert [cause for cause in causes if "." in cause] == []


def test_no_list_of_objects_needs_nested() -> None:
    lists = [typing.get_args(kind)[0] for kind in TYPES.values() if typing.get_origin(kind) is list]
    assert set(lists) == {str}


@pytest.mark.parametrize(
    "path", [path for path, kind in TYPES.items() if kind in {str, list[str]} and path not in OURS]
)
def test_no_text_is_too_long_for_its_document(path: str) -> None:
    mapping = FIELDS[path]
    keywords = [each for each in (mapping, *mapping.get("fields", {}).values()) if each["type"] == "keyword"]
    # Up to four bytes a character. Dates are short, and texts are cut into words.
    assert all(each["ignore_above"] * 4 <= LONGEST_TERM for each in keywords)


def test_keys_of_flattened_objects_have_room_beside_their_values() -> None:
    assert FIELDS["userInfo.extra"]["ignore_above"] * 4 + LONGEST_KEY <= LONGEST_TERM


def test_it_belongs_to_the_data_stream_that_the_collectors_write_to() -> None:
    assert "logs-exectrail-*" in TEMPLATE["index_patterns"]
    assert TEMPLATE["data_stream"] == {}
    assert TEMPLATE["priority"] > 100, "Elasticsearch's own template for logs-*-* has 100"
