"""What of `spod` reaches running enrichers and installers, and what does not."""

from typing import Any

import pytest

from profiles.controller.spod_settings import asked_for

FILTERS = '[{"matchKeys": ["origin"], "level": "None"}]'
EVERYTHING = {"filters.json": "[]", "allowed-syscalls": "read", "allowed-seccomp-actions": "x", "log-level": "debug"}


@pytest.mark.parametrize(
    ("spec", "data", "field"),
    [
        ({"jsonEnricherFilters": FILTERS}, {"filters.json": FILTERS}, "jsonEnricherFilters"),
        ({"enricher": {"jsonEnricherFilters": "[]"}}, {"filters.json": "[]"}, "enricher.jsonEnricherFilters"),
        ({"allowedSyscalls": ["read", "write"]}, {"allowed-syscalls": "read,write"}, "allowedSyscalls"),
        ({"security": {"allowedSyscalls": ["read"]}}, {"allowed-syscalls": "read"}, "security.allowedSyscalls"),
        (
            {"security": {"allowedSeccompActions": ["SCMP_ACT_LOG"]}},
            {"allowed-seccomp-actions": "SCMP_ACT_LOG"},
            "security.allowedSeccompActions",
        ),
        (
            {"allowedSeccompActions": ["SCMP_ACT_LOG", "SCMP_ACT_ALLOW"]},
            {"allowed-seccomp-actions": "SCMP_ACT_LOG,SCMP_ACT_ALLOW"},
            "allowedSeccompActions",
        ),
        ({"verbosity": 1}, {"log-level": "debug"}, "verbosity"),
    ],
    ids=str,
)
def test_what_is_set_is_handed_on_and_the_condition_says_so(
    spec: dict[str, Any], data: dict[str, str], field: str
) -> None:
    found = asked_for(spec, EVERYTHING)
    assert found.data == data
    assert [(each.name, each.status, each.reason) for each in found.findings] == [(f"spec.{field}", "True", "Followed")]


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"verbosity": 0},
        {"jsonEnricherFilters": ""},
        {"security": {"allowedSyscalls": []}},
        {"enableAppArmor": True},
    ],
    ids=str,
)
def test_what_is_not_set_is_left_to_the_charts_values(spec: dict[str, Any]) -> None:
    found = asked_for(spec, EVERYTHING)
    assert (found.data, found.findings) == ({}, [])
    assert found.changes(EVERYTHING) == dict.fromkeys(EVERYTHING)


def test_the_nested_form_counts_where_both_are_set() -> None:
    spec = {"allowedSyscalls": ["read"], "security": {"allowedSyscalls": ["write"]}}
    assert asked_for(spec, {}).data == {"allowed-syscalls": "write"}


@pytest.mark.parametrize(
    ("spec", "field", "mistake"),
    [
        ({"jsonEnricherFilters": "no JSON"}, "jsonEnricherFilters", "line 1, column 1"),
        ({"enricher": {"jsonEnricherFilters": '[{"levle": "None"}]'}}, "enricher.jsonEnricherFilters", "levle"),
        ({"jsonEnricherFilters": '[{"level": "Nome"}]'}, "jsonEnricherFilters", 'level is "Nome"'),
        ({"jsonEnricherFilters": "[" * 100_000}, "jsonEnricherFilters", "deep"),
        ({"jsonEnricherFilters": [{"level": "None"}]}, "jsonEnricherFilters", "must be a string"),
        ({"allowedSyscalls": ["read", "write close"]}, "allowedSyscalls", '"write close"'),
        ({"allowedSyscalls": [1]}, "allowedSyscalls", "has 1"),
        ({"security": {"allowedSeccompActions": "SCMP ACT"}}, "security.allowedSeccompActions", '"SCMP ACT"'),
        ({"verbosity": "high"}, "verbosity", '"high"'),
    ],
    ids=lambda value: str(value)[:60],
)
@pytest.mark.parametrize("before", [{}, EVERYTHING], ids=["nothing before", "something before"])
def test_a_mistake_is_named_and_what_was_handed_on_before_stays(
    spec: dict[str, Any], field: str, mistake: str, before: dict[str, str]
) -> None:
    found = asked_for(spec, before)

    ((name, reason, message, status),) = found.findings
    assert (name, reason, status) == (f"spec.{field}", "Invalid", "False")
    assert f"spec.{field}: " in message and mistake in message
    assert set(found.data) == ({next(key for key in EVERYTHING if key in found.data)} if before else set())
    assert found.data.items() <= before.items()


def test_a_mistake_in_one_field_holds_up_no_other() -> None:
    spec = {"jsonEnricherFilters": "[", "verbosity": 1, "allowedSyscalls": ["read"]}
    found = asked_for(spec, {"filters.json": "[]"})
    assert found.data == {"filters.json": "[]", "log-level": "debug", "allowed-syscalls": "read"}


def test_only_what_differs_is_written_and_keys_of_others_stay() -> None:
    before = {"filters.json": FILTERS, "log-level": "debug", "note": "mine"}
    found = asked_for({"jsonEnricherFilters": FILTERS, "allowedSyscalls": ["read"]}, before)
    assert found.changes(before) == {"allowed-syscalls": "read", "log-level": None}
    assert found.changes({**found.data, "note": "mine"}) == {}


def test_where_the_config_map_cannot_be_written_nothing_counts_as_followed() -> None:
    found = asked_for({"verbosity": 1, "jsonEnricherFilters": "["}, {}).not_written("it is gone")
    assert [(each.name, each.reason, each.status) for each in found.findings] == [
        ("spec.jsonEnricherFilters", "Invalid", "False"),
        ("Settings", "NotWritten", "False"),
    ]
    assert "it is gone" in found.findings[-1].message
