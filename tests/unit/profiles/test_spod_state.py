"""The state of `spod`: what the DaemonSets' pods make of it."""

import pytest

from profiles.controller.objects import Meta
from profiles.controller.spod_state import DaemonSet, DaemonSetStatus, state

READY = DaemonSetStatus(1, 3, 3, 3)
OLD_VERSION = DaemonSetStatus(1, 3, 1, 2)
UNSEEN = DaemonSetStatus(0, 0, 0, 0)
SOME, NONE = DaemonSetStatus(1, 3, 3, 2), DaemonSetStatus(1, 3, 3, 0)
NO_NODE = DaemonSetStatus(1, 0, 0, 0)


@pytest.mark.parametrize(
    ("status", "before", "after"),
    [
        (READY, "", "Running"),
        (READY, "Error", "Running"),
        (NO_NODE, "", "Running"),
        (UNSEEN, "", "Creating"),
        (NONE, "", "Creating"),
        (NONE, "Pending", "Creating"),
        (SOME, "Creating", "Creating"),
        (OLD_VERSION, "Running", "Updating"),
        (UNSEEN, "Running", "Updating"),
        (NONE, "Updating", "Updating"),
        (SOME, "Running", "Updating"),
        (NONE, "Running", "Error"),
        (NONE, "Error", "Error"),
        (SOME, "Error", "Updating"),
    ],
)
def test_the_state_follows_the_pods(status: DaemonSetStatus, before: str, after: str) -> None:
    found = {"enricher": DaemonSet(Meta(generation=1), READY), "node": DaemonSet(Meta(generation=1), status)}

    running = state(("enricher", "node"), found, before)

    assert running.state == after
    ready = f"DaemonSet node: {status.number_ready} of {status.desired_number_scheduled} pods are ready"
    assert running.message == ("" if after == "Running" else ready)


def test_a_daemonset_that_is_missing_is_an_error_and_named() -> None:
    running = state(("enricher", "node"), {"node": DaemonSet(Meta(), READY)}, "Running")
    assert running.state == "Error"
    assert "DaemonSet enricher is missing" in running.message
