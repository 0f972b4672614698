"""The controller's metrics."""

from collections.abc import Mapping

from prometheus_client import Counter, Gauge

SESSIONS = Gauge("exectrail_controller_sessions", "AuditSessions seen in the last round.", ["phase"])
CLOSED = Counter("exectrail_controller_sessions_closed", "AuditSessions closed.", ["outcome"])
DELETED = Counter("exectrail_controller_sessions_deleted", "AuditSessions deleted, by what made them go.", ["reason"])
REFUSED = Counter("exectrail_controller_actions_refused", "Actions refused for one object: changed, gone, invalid.")
ROUNDS_FAILED = Counter("exectrail_controller_rounds_failed", "Rounds that ended early: the API was away or refused.")
LAST_ROUND = Gauge("exectrail_controller_last_round_timestamp_seconds", "When a round was last completed.")
WEBHOOK_REACHABLE = Gauge(
    "exectrail_controller_webhook_reachable",
    "Whether the last canary came back from the webhook; NaN where this replica does not look, or cannot.",
)
WEBHOOK_INTACT = Gauge(
    "exectrail_controller_webhook_configuration_intact",
    "Whether the webhook's configuration is as the chart made it; NaN where this replica does not look, or cannot.",
)
WEBHOOK_REACHED = Gauge(
    "exectrail_controller_webhook_last_reached_timestamp_seconds",
    "When a canary last came back and the configuration was as the chart made it.",
)
WEBHOOK_FAILURES = Counter(
    "exectrail_controller_webhook_failures", "Looks that found the webhook not reached, or could not tell.", ["reason"]
)
LEADING = Gauge("exectrail_controller_leading", "Whether this replica leads.")

for _outcome in ("never-started", "not-recorded"):
    CLOSED.labels(_outcome)
for _reason in ("age", "number"):
    DELETED.labels(_reason)


def forget_webhook() -> None:
    """Show that it is not known whether the webhook is reached."""
    WEBHOOK_REACHABLE.set(float("nan"))
    WEBHOOK_INTACT.set(float("nan"))


forget_webhook()


def count_phases(phases: Mapping[str, int]) -> None:
    """Show how many sessions there are in each phase."""
    for phase in ("Open", "Running", "Closed"):
        SESSIONS.labels(phase).set(phases.get(phase, 0))
