"""What becomes of each field of the Security Profiles Operator's configuration object."""

from datetime import UTC, datetime
from typing import Any

import pytest

from profiles.controller.objects import Condition, Meta
from profiles.controller.spod_settings import Settings
from profiles.controller.spod_spec import Daemon, DaemonStatus, Finding
from profiles.controller.spod_state import Running
from profiles.controller.spod_status import status

NOW = datetime(2026, 11, 29, 2, 0, 0, tzinfo=UTC)
VALUES = {
    "logs.auditLogIntervalSeconds": 0,
    "logs.auditLogPath": "",
    "logs.auditLogMaxSize": 100,
    "logs.auditLogMaxBackups": 0,
    "logs.auditLogMaxAge": 0,
    "webhook.failurePolicy": "Ignore",
    "node.tolerations": [{"operator": "Exists"}],
}
RUNNING = Running("Running", "")
SELECTOR = {"namespaceSelector": {"matchLabels": {"a": "b"}}}
NOTHING = Settings({}, [])


def problems(spec: dict[str, Any]) -> dict[str, Condition]:
    found = status(Daemon(Meta(generation=3), spec), VALUES, RUNNING, NOTHING, {}, NOW)
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
        {"verbosity": 0, "enableProfiling": False, "enableAppArmor": False},
        {"scheduling": {"priorityClassName": "system-node-critical"}},
        {"tolerations": [{"operator": "Exists"}]},
        {"security": {"allowedIdentityRegexp": ".*", "allowedSyscalls": []}},
        {"enricher": {"enableJsonEnricher": False}},
        {"enableJsonEnricher": False, "enricher": {"enableJsonEnricher": True}},
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
        ({"tolerations": [{"key": "gpu"}]}, "tolerations", "node.tolerations"),
        (
            {"webhookOptions": [{"name": "binding.spo.io", "failurePolicy": "Fail"}]},
            "webhookOptions",
            "webhook.failure",
        ),
        ({"webhookOptions": [{"name": "binding.spo.io", **SELECTOR}]}, "webhookOptions", "webhook.excludedNamespaces"),
        (
            {"webhook": {"options": [{"name": "execmetadata.spo.io", **SELECTOR}]}},
            "webhook.options",
            "`exectrail.io/record`",
        ),
        (
            {"webhook": {"options": [{"name": "nodedebuggingpod.spo.io", **SELECTOR}]}},
            "webhook.options",
            "every namespace",
        ),
        ({"webhookOptions": [{"name": "recording.spo.io"}]}, "webhookOptions", "no equivalent"),
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
        {"enableJsonEnricher": False},
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
    spec = {"jsonEnricherOptions": {"auditLogMaxSize": 5}, "enricher": {"jsonEnricherOptions": {"auditLogMaxSize": 6}}}
    assert list(problems(spec)) == ["spec.enricher.jsonEnricherOptions.auditLogMaxSize"]


def test_what_running_parts_follow_and_where_the_log_is_has_conditions_as_well() -> None:
    settings = Settings({}, [Finding("spec.a", "Followed", "it is", "True"), Finding("spec.b", "Invalid", "it is not")])
    volume = {"json-enricher-log-volume-source.json": '{"hostPath": {"path": "/logs"}}'}

    found = status(Daemon(Meta(generation=3)), VALUES, RUNNING, settings, volume, NOW)

    assert [(each.type, each.status, each.reason) for each in found.conditions] == [
        ("Ready", "True", "Available"),
        ("spec.a", "True", "Followed"),
        ("spec.b", "False", "Invalid"),
        ("json-enricher-log-volume-source.json", "False", "SetByValues"),
    ]
    assert "does not follow 2 of the fields" in found.conditions[0].message


@pytest.mark.parametrize(
    ("state", "reason"), [("Creating", "Creating"), ("Updating", "Updating"), ("Error", "Unavailable")]
)
def test_it_is_not_ready_while_the_release_does_not_run(state: Any, reason: str) -> None:
    found = status(Daemon(Meta()), VALUES, Running(state, "1 of 2 pods"), NOTHING, {}, NOW)

    (ready,) = found.conditions
    assert (found.state, ready.status, ready.reason, ready.message) == (state, "False", reason, "1 of 2 pods")


def test_a_status_that_says_it_all_stays_as_it_is() -> None:
    daemon = Daemon(Meta(generation=1), {"enableAppArmor": True})
    first = status(daemon, VALUES, RUNNING, NOTHING, {}, NOW)
    later = datetime(2026, 11, 29, 3, 0, 0, tzinfo=UTC)
    assert status(Daemon(daemon.metadata, daemon.spec, first), VALUES, RUNNING, NOTHING, {}, later) == first
    assert first != DaemonStatus()
