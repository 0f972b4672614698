"""The installer's metrics."""

from collections import Counter as Count
from collections.abc import Iterable
from typing import get_args

from prometheus_client import Counter, Gauge

from exectrail.contracts.spo import State
from profiles.installer.plan import NodeState

BUILT_IN = Gauge("exectrail_installer_built_in_in_place", "Whether all built-in profiles were in place.")
PROFILES = Gauge("exectrail_installer_profiles", "SeccompProfiles by their state on this node.", ["state"])
ERRORS = Gauge("exectrail_installer_profile_errors", "SeccompProfiles in state Error, by reason.", ["reason"])
FILES = Counter("exectrail_installer_files", "Files changed.", ["operation"])
STATUSES_REFUSED = Counter("exectrail_installer_statuses_refused", "Writes of node statuses that the API refused.")
LAST_ROUND = Gauge("exectrail_installer_last_round_timestamp_seconds", "When all files were last looked at.")

for _operation in ("write", "remove", "repair"):
    FILES.labels(_operation)


def count_states(states: Iterable[NodeState]) -> None:
    """Show how many profiles are in each state, and why those in `Error` are."""
    all_states = list(states)
    by_state = Count(each.state for each in all_states)
    for state in get_args(State):
        PROFILES.labels(state).set(by_state[state])
    ERRORS.clear()
    for reason, count in Count(each.reason for each in all_states if each.state == "Error").items():
        ERRORS.labels(reason).set(count)
