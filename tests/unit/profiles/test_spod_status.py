"""What becomes of each field of the Security Profiles Operator's configuration object."""

from datetime import UTC, datetime
from typing import Any

import pytest

from profiles.controller.objects import Condition, Meta
from profiles.controller.spod_status import Daemon, DaemonStatus, status

NOW = datetime(2026, 11, 29, 2, 0, 0, tzinfo=UTC)
VALUES = {
    "logLevel": "info",
    "logs.auditLogIntervalSeconds": 0,
    "logs.auditLogPath": "",
    "logs.auditLogMaxSize": 100,
    "logs.auditLogMaxBackups": 0,
    "logs.auditLogMaxAge": 0,
    "enricher.filters": [{"level": "None", "matchKeys": ["origin"]}],
    "webhook.failurePolicy": "Ignore",
    "node.allowedSyscalls": [],
    "node.allowedSeccompActions": [],
    "node.tolerations": [{"operator": "Exists"}],
}
FLAT = "jsonEnricherOptions"
FILTERS = '[{"matchKeys": ["origin"], "level": "None"}]'


def problems(spec: dict[str, Any]) -> dict[str, Condition]:
    found = status(Daemon(Meta(generation=3), spec), VALUES, NOW)
    assert found.state == "Running"
    ready, *rest = found.conditions
    assert (ready.type, ready.status) == ("Ready", "True")
    return {each.type: each for each in rest}


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"enableJsonEnricher": True},
        {"enricher": {"enableJsonEnricher": True, "enableLogEnricher": False, "enableBpfRecorder": False}},
        {"jsonEnricherOptions": {"auditLogIntervalSeconds": 10, "auditLogMaxSize": 100, "auditLogMaxBackups": 0}},
        {"enricher": {"jsonEnricherOptions": {"auditLogMaxAge": 0}}},
        {"jsonEnricherFilters": FILTERS},
        {"enricher": {"jsonEnricherFilters": FILTERS}},
        {"verbosity": 0, "enableProfiling": False, "enableAppArmor": False},
        {"scheduling": {"priorityClassName": "system-node-critical"}},
        {"tolerations": [{"operator": "Exists"}]},
        {"security": {"allowedIdentityRegexp": ".*", "allowedSyscalls": []}},
        {"selinux": {"enable": False, "options": {}}},
        {"webhookOptions": [{"name": "binding.spo.io", "failurePolicy": "Ignore"}]},
        {"webhook": {"staticConfig": False, "options": [{"name": "execmetadata.spo.io"}]}},
    ],
    ids=str,
)
def test_what_is_so_already_or_not_set_needs_no_condition(spec: dict[str, Any]) -> None:
    assert problems(spec) == {}


@pytest.mark.parametrize(
    ("spec", "field", "value"),
    [
        (
            {"jsonEnricherOptions": {"auditLogMaxSize": 5}},
            "jsonEnricherOptions.auditLogMaxSize",
            "logs.auditLogMaxSize",
        ),
        (
            {"jsonEnricherOptions": {"auditLogMaxBackups": 3}},
            "jsonEnricherOptions.auditLogMaxBackups",
            "logs.auditLogMax",
        ),
        (
            {"enricher": {"jsonEnricherOptions": {"auditLogPath": "/data/x.log"}}},
            "enricher.jsonEnricherOptions.auditLogPath",
            "logs.auditLogPath",
        ),
        ({"jsonEnricherFilters": "[]"}, "jsonEnricherFilters", "enricher.filters"),
        ({"jsonEnricherFilters": "no JSON"}, "jsonEnricherFilters", "enricher.filters"),
        ({"allowedSyscalls": ["read"]}, "allowedSyscalls", "node.allowedSyscalls"),
        ({"security": {"allowedSyscalls": ["read"]}}, "security.allowedSyscalls", "node.allowedSyscalls"),
        ({"verbosity": 1}, "verbosity", "logLevel"),
        ({"tolerations": [{"key": "gpu"}]}, "tolerations", "node.tolerations"),
        (
            {"webhookOptions": [{"name": "binding.spo.io", "failurePolicy": "Fail"}]},
            "webhookOptions",
            "webhook.failure",
        ),
        (
            {
                "webhook": {
                    "options": [{"name": "execmetadata.spo.io", "namespaceSelector": {"matchLabels": {"a": "b"}}}]
                }
            },
            "webhook.options",
            "webhook.excludedNamespaces",
        ),
    ],
    ids=str,
)
def test_what_the_chart_sets_names_the_field_and_the_value(spec: dict[str, Any], field: str, value: str) -> None:
    ((name, condition),) = problems(spec).items()
    assert (name, condition.status, condition.reason) == (f"spec.{field}", "False", "SetByValues")
    assert value in condition.message


@pytest.mark.parametrize(
    "spec",
    [
        {"enableLogEnricher": True},
        {"enricher": {"enableLogEnricher": True}},
        {"enricher": {"enableBpfRecorder": True}},
        {"enableAppArmor": True},
        {"selinux": {"enable": True}},
        {"staticWebhookConfig": True},
        {"security": {"allowedIdentityRegexp": "me"}},
    ],
    ids=str,
)
def test_what_has_no_equivalent_says_so(spec: dict[str, Any]) -> None:
    ((name, condition),) = problems(spec).items()
    assert condition.reason == "NoEquivalent"
    assert name in condition.message


def test_the_nested_form_counts_where_both_are_set() -> None:
    spec = {"allowedSyscalls": ["read"], "security": {"allowedSyscalls": ["write"]}}
    assert list(problems(spec)) == ["spec.security.allowedSyscalls"]


def test_a_status_that_says_it_all_stays_as_it_is() -> None:
    daemon = Daemon(Meta(generation=1), {"verbosity": 1})
    first = status(daemon, VALUES, NOW)
    later = datetime(2026, 11, 29, 3, 0, 0, tzinfo=UTC)
    assert status(Daemon(daemon.metadata, daemon.spec, first), VALUES, later) == first
    assert first != DaemonStatus()
