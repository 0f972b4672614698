"""What counts as a change of the webhook's configuration, with the configuration that the chart renders."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from exectrail.contracts.webhook_configuration import changes

Entries = list[dict[str, Any]]

CANARY = {
    "name": "canary.exectrail.io",
    "clientConfig": {"service": {"name": "hook", "namespace": "audit", "path": "/canary", "port": 443}},
    "rules": [{"apiGroups": ["coordination.k8s.io"], "operations": ["CREATE"], "resources": ["leases"]}],
    "objectSelector": {"matchLabels": {"exectrail.io/canary": "true"}},
    "failurePolicy": "Fail",
}
EXEC = {
    "name": "execmetadata.exectrail.io",
    "clientConfig": {"service": {"name": "hook", "namespace": "audit", "path": "/mutate", "port": 443}},
    "rules": [{"apiGroups": [""], "operations": ["CONNECT"], "resources": ["pods/exec", "pods/attach"]}],
    "failurePolicy": "Ignore",
    "timeoutSeconds": 3,
}
ATTACH_ONLY = [{"apiGroups": [""], "operations": ["CONNECT"], "resources": ["pods/attach"]}]
EXPECTED: Entries = [EXEC, CANARY]


def live() -> Entries:
    """As an API server shows it: with its defaults, and the CA that cert-manager wrote."""
    entries = copy.deepcopy(EXPECTED)
    for entry in entries:
        entry["clientConfig"]["caBundle"] = "b3Vycw=="
        for selector in ("namespaceSelector", "objectSelector"):
            entry.setdefault(selector, {})
    return entries


def exec_of(entries: Entries) -> dict[str, Any]:
    return entries[0]


def put(field: str, value: object) -> Callable[[Entries], None]:
    def change(entries: Entries) -> None:
        exec_of(entries)[field] = value

    return change


def put_in_client(field: str, value: object) -> Callable[[Entries], None]:
    def change(entries: Entries) -> None:
        exec_of(entries)["clientConfig"][field] = value

    return change


def drop_canary(entries: Entries) -> None:
    del entries[1]


def test_what_the_api_server_and_cert_manager_add_is_no_change() -> None:
    assert changes(EXPECTED, live()) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("rules", []), "execmetadata.exectrail.io has another rules"),
        (put("rules", ATTACH_ONLY), "execmetadata.exectrail.io has another rules"),
        (put("failurePolicy", "Fail"), "execmetadata.exectrail.io has another failurePolicy"),
        (put("timeoutSeconds", 1), "execmetadata.exectrail.io has another timeoutSeconds"),
        (
            put("namespaceSelector", {"matchLabels": {"team": "a"}}),
            "execmetadata.exectrail.io has another namespaceSelector",
        ),
        (put("objectSelector", {"matchLabels": {"a": "b"}}), "execmetadata.exectrail.io has another objectSelector"),
        (
            put("matchConditions", [{"name": "never", "expression": "false"}]),
            "execmetadata.exectrail.io has another matchConditions",
        ),
        (put_in_client("caBundle", "Zm9yZWlnbg=="), "execmetadata.exectrail.io has another caBundle"),
        (put_in_client("caBundle", None), "execmetadata.exectrail.io has another caBundle"),
        (put_in_client("service", {"name": "other"}), "execmetadata.exectrail.io has another service"),
        (put("name", "renamed"), "execmetadata.exectrail.io is missing"),
        (drop_canary, "canary.exectrail.io is missing"),
    ],
)
def test_a_change_is_named(change: Callable[[Entries], None], said: str) -> None:
    entries = live()
    change(entries)
    assert said in changes(EXPECTED, entries)


def test_several_fields_of_an_entry_are_named_together() -> None:
    entries = live()
    exec_of(entries).update(failurePolicy="Fail", timeoutSeconds=1)
    assert changes(EXPECTED, entries) == ["execmetadata.exectrail.io has another failurePolicy, timeoutSeconds"]


def test_a_ca_that_the_chart_gives_is_compared_with_that() -> None:
    expected = copy.deepcopy(EXPECTED)
    exec_of(expected)["clientConfig"]["caBundle"] = "Z2l2ZW4="
    entries = live()
    assert changes(expected, entries) == ["execmetadata.exectrail.io has another caBundle"]
    exec_of(entries)["clientConfig"]["caBundle"] = "Z2l2ZW4="
    assert changes(expected, entries) == []


def test_entries_of_others_do_no_harm() -> None:
    assert changes(EXPECTED, [*live(), {"name": "more.example"}]) == []


def test_conditions_that_are_gone_hide_nothing() -> None:
    expected = copy.deepcopy(EXPECTED)
    exec_of(expected)["matchConditions"] = [{"name": "some", "expression": "true"}]
    assert changes(expected, live()) == []
