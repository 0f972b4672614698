"""What the webhook counts, for Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter(
    "exectrail_webhook_requests",
    "Admission requests answered, by what was asked for and what was done about it.",
    ["webhook", "verb", "outcome", "reason"],
)
MIRROR_AGE = Gauge(
    "exectrail_webhook_mirror_age_seconds",
    "Time since the API server last sent anything about a resource; about a minute where nothing changes.",
    ["resource"],
)
ERRORS = Counter(
    "exectrail_webhook_errors",
    "Faults of the webhook itself; the request was allowed as it was, or refused where a record is required.",
    ["webhook"],
)
BAD_REQUESTS = Counter(
    "exectrail_webhook_bad_requests",
    "Calls that were no readable AdmissionReview, by HTTP status.",
    ["webhook", "status"],
)
LATENCY = Histogram(
    "exectrail_webhook_duration_seconds",
    "Time from the last byte of a review's body to the last byte of its answer, handed to the kernel.",
    ["webhook"],
    buckets=(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0),
)
CONNECTIONS = Gauge("exectrail_webhook_connections", "Connections of callers, on both ports.")
CONNECTIONS_ENDED = Counter(
    "exectrail_webhook_connections_ended",
    "Connections that the webhook ended because of what their callers did or took, by reason.",
    ["reason"],
)
BODY_BYTES = Gauge("exectrail_webhook_body_bytes", "Bodies without an answer, and answers that were not taken yet.")
SESSIONS_WRITTEN = Counter("exectrail_webhook_sessions_written", "AuditSessions that the API server has.")
SESSIONS_RETRIED = Counter("exectrail_webhook_sessions_retried", "Attempts to write an AuditSession that failed.")
SESSIONS_DROPPED = Counter(
    "exectrail_webhook_sessions_dropped",
    "AuditSessions that were never written, by cause.",
    ["cause"],
)
SESSIONS_LABELLED = Counter(
    "exectrail_webhook_sessions_labelled",
    "Attempts to write an AuditSession, by the agents that watch it.",
    ["agents"],
)
REQUIRED = Counter(
    "exectrail_webhook_required",
    "Requests in namespaces that require a record, by what became of them.",
    ["result"],
)
QUEUED_SESSIONS = Gauge("exectrail_webhook_sessions_queued", "AuditSessions waiting to be written.")
QUEUED_BYTES = Gauge("exectrail_webhook_sessions_queued_bytes", "Size of the AuditSessions waiting to be written.")
CERTIFICATE_EXPIRY = Gauge(
    "exectrail_webhook_certificate_expiry_timestamp_seconds", "End of the serving certificate's validity, Unix time."
)
CERTIFICATE_REJECTED = Counter(
    "exectrail_webhook_certificate_rejected",
    "Certificates that were not taken over, by reason; the one before keeps serving.",
    ["reason"],
)
CONFIGURATION_REPAIRED = Counter(
    "exectrail_webhook_configuration_repaired",
    "How often the webhook has set a field of its MutatingWebhookConfiguration right.",
    ["field"],
)
CERTIFICATE_REFUSED_SECONDS = Gauge(
    "exectrail_webhook_certificate_refused_seconds",
    "How long the newest certificate has not been fit to serve; 0 where it serves.",
)

# Each from the start: who asks for an increase does not see the value with which a series begins.
for _cause in ("user-limit", "namespace-limit", "queue-full", "refused", "shutdown", "error"):
    SESSIONS_DROPPED.labels(_cause)
for _result in ("written", "refused", "break-glass"):
    REQUIRED.labels(_result)
