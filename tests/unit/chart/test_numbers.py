"""Numbers among the values: Go prints a large or small one as 1e+06, which no part reads."""

import argparse
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest

import enricher.__main__
import profiles.controller.__main__
import webhook.options
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


PARSERS: dict[str, Callable[[list[str]], argparse.Namespace]] = {
    "webhook": lambda arguments: webhook.options.parser().parse_args(arguments),
    "enricher": lambda arguments: enricher.__main__._parser().parse_args(arguments),
    "controller": profiles.controller.__main__._arguments,
}


@pytest.mark.parametrize("part", PARSERS)
@pytest.mark.parametrize("bound", ["minimum", "maximum"])
def test_a_part_takes_the_least_and_the_most_that_the_schema_allows(
    helm_template: HelmTemplate, monkeypatch: pytest.MonkeyPatch, part: str, bound: str
) -> None:
    monkeypatch.setenv("POD_NAMESPACE", "exectrail")
    hours = {"minimum": ("2h", "1h"), "maximum": ("999998h", "1h")}[bound]
    tls = {
        "mode": "self-managed",
        "duration": hours[0],
        "renewBefore": hours[1],
        "ca": {"duration": "999999h", "renewBefore": hours[0]},
    }
    ports = {"webhook": {"port": 2000, "metricsPort": 3000}}
    values = merged(everywhere(lambda schema: schema.get(bound, 1)), {"tls": tls} | ports)

    PARSERS[part](container(pod_spec(helm_template(values), part), part)["args"])
