"""The controller's metrics."""

from collections.abc import Mapping

from prometheus_client import Counter, Gauge

SESSIONS = Gauge("exectrail_controller_sessions", "AuditSessions seen in the last round.", ["phase"])
CLOSED = Counter("exectrail_controller_sessions_closed", "AuditSessions closed.", ["outcome"])
DELETED = Counter("exectrail_controller_sessions_deleted", "AuditSessions deleted, by what made them go.", ["reason"])
REFUSED = Counter("exectrail_controller_actions_refused", "Actions refused for one object: changed, gone, invalid.")
ROUNDS_FAILED = Counter("exectrail_controller_rounds_failed", "Rounds that ended early: the API was away or refused.")
LAST_ROUND = Gauge("exectrail_controller_last_round_timestamp_seconds", "When a round was last completed.")
LEADING = Gauge("exectrail_controller_leading", "Whether this replica leads.")

for _outcome in ("never-started", "not-recorded"):
    CLOSED.labels(_outcome)
for _reason in ("age", "number"):
    DELETED.labels(_reason)


def count_phases(phases: Mapping[str, int]) -> None:
    """Show how many sessions there are in each phase."""
    for phase in ("Open", "Running", "Closed"):
        SESSIONS.labels(phase).set(phases.get(phase, 0))
