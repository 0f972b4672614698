"""What `helm install` says at its end."""

import json
import subprocess

import pytest

from tests.unit.chart.rendered import CHART, Document


def notes(helm: str, values: Document) -> str:
    """The notes, without a cluster."""
    command = [helm, "install", "exectrail", str(CHART), "--dry-run=client", "--namespace=exectrail", "--values=-"]
    done = subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=True)
    return done.stdout.partition("\nNOTES:\n")[2]


@pytest.mark.parametrize(
    ("logs", "place"),
    [
        ({}, "/var/log/security-profiles-operator/trail.jsonl."),
        ({"file": {"path": "/srv/audit"}}, "/srv/audit/trail.jsonl."),
        ({"auditLogPath": "/srv/audit/log.json"}, "/srv/audit/log.json."),
        ({"mode": "pvc"}, "trail-NODE.jsonl in claim exectrail-trail."),
        ({"mode": "pvc", "auditLogPath": "/srv/audit/log.json"}, "log-NODE.json in claim exectrail-trail."),
        ({"mode": "pvc", "pvc": {"existingClaim": "mine"}}, "trail-NODE.jsonl in claim mine."),
        ({"mode": "stdout"}, "the log of its enricher pod."),
    ],
)
def test_they_say_where_the_trail_is(helm: str, logs: Document, place: str) -> None:
    assert f"\nEach node writes its trail to {place}" in notes(helm, {"logs": logs})
