"""Numbers among the values: Go prints a large or small one as 1e+06, which no part reads."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest

from tests.unit.chart.rendered import CHART, Document, HelmTemplate, RunHelm, container, pod_spec

SCHEMA: Document = json.loads((CHART / "values.schema.json").read_text())
RATES = ("user", "namespace", "total")


def numbers(schema: Document, *path: str | int) -> Iterator[tuple[tuple[str | int, ...], Document]]:
    """Each number that the schema knows: its path, with 0 for the first of a list, and its schema."""
    if "$ref" in schema:
        schema = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]]
    types = schema.get("type", [])
    if not {"integer", "number"}.isdisjoint([types] if isinstance(types, str) else types):
        yield path, schema
    for key, each in schema.get("properties", {}).items():
        yield from numbers(each, *path, key)
    if isinstance(schema.get("additionalProperties"), dict):
        yield from numbers(schema["additionalProperties"], *path, "any")
    if "items" in schema:
        yield from numbers(schema["items"], *path, 0)


NUMBERS = dict(numbers(SCHEMA))


def nested(path: tuple[str | int, ...], value: float) -> Any:
    """The value at its path."""
    if not path:
        return value
    first, *rest = path
    below = nested(tuple(rest), value)
    return [below] if first == 0 else {first: below}


def merged(one: Document, other: Document) -> Document:
    return one | {
        key: merged(one[key], value) if isinstance(value, dict) and key in one else value
        for key, value in other.items()
    }


def everywhere(number: Callable[[Document], float]) -> Document:
    """Values with a number that each place's schema allows; where it does not, the default stays."""
    values: Document = {}
    for path, schema in NUMBERS.items():
        value = number(schema)
        if jsonschema.Draft7Validator(schema).is_valid(value):
            values = merged(values, nested(path, value))
    return values


def test_the_schema_has_numbers_of_every_part() -> None:
    assert {"logs", "sessions", "webhook", "controller", "enricher", "node"} <= {path[0] for path in NUMBERS}
    assert ("sessions", "rates", "user", "perSecond") in NUMBERS


@pytest.mark.parametrize("number", [1_000_000, 10_000_000, 1_234_567])
def test_a_large_number_is_rendered_as_it_was_given(run_helm: RunHelm, number: int) -> None:
    done = run_helm(everywhere(lambda _: number))

    assert done.returncode == 0, done.stderr
    assert re.findall(r".*\b[\d.]+e[+-]\d+\b.*", done.stdout) == []
    assert f"replicas: {number}\n" in done.stdout


@pytest.mark.parametrize("per_second", ["0.000001", "0.00001", "0.5", "20", "1000000", "1000000000"])
def test_a_rate_is_rendered_as_it_was_given(helm_template: HelmTemplate, per_second: str) -> None:
    rates = {whose: {"perSecond": float(per_second), "burst": 7} for whose in RATES}
    arguments = container(pod_spec(helm_template({"sessions": {"rates": rates}}), "webhook"), "webhook")["args"]

    assert {f"--{whose}-limit={per_second}:7" for whose in RATES} <= set(arguments)
