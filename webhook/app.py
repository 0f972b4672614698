"""The HTTP side: routes, bodies, status codes. What to answer is decided elsewhere.

A call that cannot be read gets a 4xx, and `failurePolicy: Ignore` lets its request pass. A fault of our own never
gets that far: the request is allowed as it was, with a warning, and the fault is counted.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from msgspec import Struct, field
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from exectrail.meta import ObjectMeta
from exectrail.session import AuditSession
from webhook import admission, binding, exec_metadata, metrics
from webhook.admission import Decision
from webhook.json_value import BadReview
from webhook.ledger_entry import Rules
from webhook.tag_mode import Known

BINDING_PATH = "/mutate-v1-pod-binding"
EXEC_METADATA_PATH = "/mutate-v1-exec-metadata"

_FAULT = "exectrail: internal error; the request goes on unchanged"

log = logging.getLogger(__name__)

Decide = Callable[[admission.Request], Decision]


class Health(Struct):
    """Whether requests should come here: each condition by name, and not while the process drains."""

    conditions: dict[str, Callable[[], bool]] = field(default_factory=dict)
    draining: bool = False

    def missing(self) -> list[str]:
        """What is not there yet; nothing when ready."""
        return [name for name, holds in self.conditions.items() if not holds()] + ["not draining"] * self.draining


class Webhook(Struct, frozen=True):
    """What admission needs from the outside.

    `known` tells what is known of a namespace and a pod in it, by their names; `rules` what holds at this moment;
    `record` takes an AuditSession for writing and returns at once; sessions are made in `namespace`.
    """

    known: Callable[[str, str], Known]
    rules: Callable[[], Rules]
    record: Callable[[AuditSession], None]
    namespace: str

    def bind(self, request: admission.Request) -> Decision:
        """Answer a pod's creation."""
        decision = binding.decide(request, self.known(request.namespace, "").namespace)
        metrics.REQUESTS.labels("binding", "create", decision.reason).inc()
        return decision

    def tag(self, request: admission.Request) -> Decision:
        """Answer an exec, attach, port-forward or debug, and put it into the ledger."""
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        decision = exec_metadata.decide(request, self.known(request.namespace, request.name), self.rules(), now)
        verb = next((session.verb for session in decision.sessions.values()), "none")
        metrics.REQUESTS.labels("exec-metadata", verb, decision.reason).inc()
        for uid, session in decision.sessions.items() if not request.dry_run else ():
            self.record(AuditSession(ObjectMeta(name=uid, namespace=self.namespace), session))
        return decision


def admission_app(webhook: Webhook, health: Health) -> Starlette:
    """Build what the TLS port serves."""
    return Starlette(
        routes=[
            Route(BINDING_PATH, _review("binding", webhook.bind, health), methods=["POST"]),
            Route(EXEC_METADATA_PATH, _review("exec-metadata", webhook.tag, health), methods=["POST"]),
            *_health_routes(health),
        ]
    )


def status_app(health: Health) -> Starlette:
    """Build what the plain port serves: health and metrics."""

    async def metrics_page(_http: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/metrics", metrics_page), *_health_routes(health)])


def respond(name: str, decide: Decide, body: bytes) -> bytes:
    """Answer one webhook call.

    Raises:
        BadReview: The body cannot be read.

    """
    request = admission.decode(body)
    try:
        decision = decide(request)
    except BadReview:
        raise
    except Exception:
        metrics.ERRORS.labels(name).inc()
        log.exception("fault in %s; the request goes on unchanged", name, extra={"uid": request.uid})
        decision = Decision("error", warnings=[_FAULT])
    return admission.answer(request, decision)


def _review(name: str, decide: Decide, health: Health) -> Callable[[Request], Awaitable[Response]]:
    latency = metrics.LATENCY.labels(name)

    async def handle(http: Request) -> Response:
        try:
            body = await _body(http)
        except ClientDisconnect:
            return _refuse(name, 400, "the body ended early")
        if body is None:
            return _refuse(name, 413, f"a body of more than {admission.MAX_BYTES} bytes")
        began = time.perf_counter()
        try:
            content = respond(name, decide, body)
        except BadReview as error:
            return _refuse(name, 400, str(error))
        latency.observe(time.perf_counter() - began)
        # The API server keeps its connections to a pod that ends: this sends it on to another one.
        headers = {"connection": "close"} if health.draining else None
        return Response(content, media_type="application/json", headers=headers)

    return handle


async def _body(http: Request) -> bytes | None:
    """The whole body; `None` as soon as it is too long."""
    declared = http.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > admission.MAX_BYTES:
        return None
    body = bytearray()
    async for chunk in http.stream():
        body += chunk
        if len(body) > admission.MAX_BYTES:
            return None
    return bytes(body)


def _refuse(name: str, status: int, why: str) -> Response:
    metrics.BAD_REQUESTS.labels(name, status).inc()
    log.warning("refused a call of %s: %s", name, why)
    return Response(why + "\n", status, media_type="text/plain", headers={"connection": "close"})


def _health_routes(health: Health) -> list[Route]:
    async def healthz(_http: Request) -> Response:
        return Response("ok\n", media_type="text/plain")

    async def readyz(_http: Request) -> Response:
        missing = health.missing()
        text = f"not ready: {', '.join(missing)}\n" if missing else "ok\n"
        return Response(text, 503 if missing else 200, media_type="text/plain")

    return [Route("/healthz", healthz), Route("/readyz", readyz)]
