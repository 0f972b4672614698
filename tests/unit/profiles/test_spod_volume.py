"""The values of the chart that put the trail where the Security Profiles Operator's log was."""

import json
from typing import Any

import pytest

from profiles.controller.spod_volume import findings

SOURCE = "json-enricher-log-volume-source.json"
DEFAULTS = {"logs.mode": "file", "logs.file.path": "/var/log/x", "logs.auditLogPath": "", "logs.pvc.existingClaim": ""}
HOST = {"hostPath": {"path": "/tmp/logs", "type": "DirectoryOrCreate"}}
CLAIM = {"persistentVolumeClaim": {"claimName": "logs"}}
LOG = "/data/logs/jsonenricher/audit.log"


def found(
    source: object, log: str = "", values: dict[str, str] | None = None, mount: str = ""
) -> dict[str, tuple[str, str]]:
    """Reason and message by name."""
    config_map = {} if source is None else {SOURCE: json.dumps(source)}
    if mount:
        config_map["json-enricher-log-volume-mount-path"] = mount
    spec: dict[str, Any] = {"jsonEnricherOptions": {"auditLogPath": log}} if log else {}
    said = findings(config_map, spec, DEFAULTS | (values or {}))
    return {each.name: (each.reason, each.message) for each in said}


@pytest.mark.parametrize(
    ("source", "log", "values"),
    [
        (HOST, "", {"logs.mode": "file", "logs.file.path": "/tmp/logs"}),
        (HOST, LOG, {"logs.mode": "file", "logs.auditLogPath": "/tmp/logs/audit.log"}),
        (HOST, f"{LOG[:-9]}deep/audit.log", {"logs.mode": "file", "logs.auditLogPath": "/tmp/logs/deep/audit.log"}),
        (CLAIM, "", {"logs.mode": "pvc", "logs.pvc.existingClaim": "logs"}),
        (CLAIM, LOG, {"logs.mode": "pvc", "logs.pvc.existingClaim": "logs", "logs.auditLogPath": LOG}),
    ],
)
def test_the_condition_names_the_values_and_is_gone_once_they_are_set(
    source: object, log: str, values: dict[str, str]
) -> None:
    ((name, (reason, message)),) = found(source, log, {"logs.mode": "stdout"}).items()
    assert (name, reason) == (SOURCE, "SetByValues")
    assert message.endswith("set the chart's values " + " and ".join(f"`{key}={to}`" for key, to in values.items()))
    assert found(source, log, values) == {}


def test_the_path_is_taken_from_where_the_volume_is_mounted() -> None:
    assert found(HOST, "/mnt/a.log", {"logs.auditLogPath": "/tmp/logs/a.log"}, mount="/mnt") == {}
    reasons = {name: reason for name, (reason, _) in found(HOST, LOG, mount="/mnt").items()}
    assert reasons == {"spec.jsonEnricherOptions.auditLogPath": "Invalid", SOURCE: "SetByValues"}


def test_a_folder_is_the_same_whichever_value_names_it() -> None:
    assert found(HOST, "", {"logs.auditLogPath": "/tmp/logs/trail.jsonl"}) == {}


@pytest.mark.parametrize("source", [None, {}, {"emptyDir": {"sizeLimit": "500Mi"}}], ids=str)
def test_without_a_volume_of_the_users_only_the_path_is_compared(source: object) -> None:
    assert found(source) == {}
    assert found(source, LOG, {"logs.auditLogPath": LOG}) == {}
    ((name, (reason, message)),) = found(source, LOG).items()
    assert (name, reason) == ("spec.jsonEnricherOptions.auditLogPath", "SetByValues")
    assert "`logs.auditLogPath`" in message


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ({"nfs": {"server": "s", "path": "/"}}, "NoEquivalent"),
        ({"hostPath": {}}, "Invalid"),
        ({"persistentVolumeClaim": "logs"}, "Invalid"),
        ([], "Invalid"),
        (1, "Invalid"),
    ],
    ids=str,
)
def test_a_volume_that_cannot_be_used_says_so(source: object, reason: str) -> None:
    assert {name: said for name, (said, _) in found(source).items()} == {SOURCE: reason}


def test_what_is_no_json_says_so() -> None:
    (finding,) = findings({SOURCE: "{hostPath: /tmp}"}, {}, DEFAULTS)
    assert (finding.name, finding.reason) == (SOURCE, "Invalid")
