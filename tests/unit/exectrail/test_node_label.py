"""Each AuditSession is watched by the agent of its node, and one without labels by all."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exectrail.contracts.node_label import (
    NO_SHARD,
    NODE_LABEL,
    SHARD_LABEL,
    SHARDS,
    labels,
    node_label,
    selector,
    shard,
)

LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
"""Of k8s.io/apimachinery/pkg/util/validation, IsValidLabelValue; at most 63 characters."""


def selects(text: str, found: dict[str, str]) -> bool:
    """Whether a selector `key notin (a,b)` takes an object, as the API server reads it."""
    key, operator, values = text.split(" ")
    assert operator == "notin"
    return key not in found or found[key] not in values.strip("()").split(",")


@given(st.text())
def test_every_name_gives_a_value_that_the_api_takes(node: str) -> None:
    for value in labels(node).values():
        assert value
        assert len(value) <= 63
        assert LABEL_VALUE.fullmatch(value)


@pytest.mark.parametrize("node", ["n1", "ip-10-0-0-1.eu-west-1.compute.internal", "a" * 63])
def test_an_ordinary_name_is_the_value(node: str) -> None:
    assert node_label(node) == node


def test_long_names_stay_apart() -> None:
    first, second = (f"{'a' * 200}.{last}" for last in "xy")
    assert node_label(first) != node_label(second)


@given(st.text(), st.text())
def test_an_agent_watches_its_own_nodes_sessions_and_those_of_its_shard(own: str, other: str) -> None:
    assert selects(selector(own), labels(own))
    assert selects(selector(own), labels(other)) is (shard(own) == shard(other))


def test_all_agents_watch_what_has_no_label_as_an_older_webhook_writes_it() -> None:
    assert selects(selector("n1"), {})
    assert selects(selector("n1"), {NODE_LABEL: "n2"})


def test_no_agent_watches_what_concerns_no_node() -> None:
    assert not any(selects(selector(f"n{number}"), {SHARD_LABEL: NO_SHARD}) for number in range(1000))


def test_nodes_spread_over_the_shards() -> None:
    shards = [shard(f"node-{number}") for number in range(5000)]
    assert len(set(shards)) == SHARDS
    assert max(shards.count(each) for each in set(shards)) < 2 * 5000 / SHARDS


def test_the_selector_fits_into_a_url() -> None:
    assert len(selector("n1")) < 300
