"""What the node waits for after its kubelet was started anew."""

from typing import Any

import pytest

from tests.cluster.node import probes

_COUNT = 'prober_probe_total{{container="app",namespace="n",pod="p",pod_uid="u",probe_type="{}",result="{}"}} {}\n'
_TYPE = "# TYPE prober_probe_total counter\n"
_READY, _UNREADY = True, False


def pod(*, ready: bool, probed: bool = True) -> dict[str, Any]:
    return {
        "metadata": {"uid": "u"},
        "spec": {"containers": [{"name": "app"} | ({"readinessProbe": {}} if probed else {})]},
        "status": {"containerStatuses": [{"name": "app", "ready": ready}]},
    }


@pytest.mark.parametrize(
    ("counts", "ready", "seen"),
    [
        ([], _READY, False),
        ([("Liveness", "successful", 9)], _READY, False),
        ([("Readiness", "successful", 1)], _READY, False),
        ([("Readiness", "successful", 2)], _UNREADY, False),
        ([("Readiness", "successful", 2)], _READY, True),
        ([("Readiness", "failed", 1), ("Readiness", "successful", 1)], _READY, True),
        ([("Readiness", "failed", 2)], _UNREADY, True),
    ],
)
def test_a_container_is_seen_by_its_second_probe(counts: list[tuple[str, str, int]], ready: bool, seen: bool) -> None:
    metrics = _TYPE + "".join(_COUNT.format(*each) for each in counts)

    assert probes.all_seen(metrics, [pod(ready=ready)]) == seen


def test_what_has_no_probe_or_goes_is_not_waited_for() -> None:
    going = pod(ready=False)
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    assert probes.all_seen(_TYPE, [pod(ready=True, probed=False), going])
