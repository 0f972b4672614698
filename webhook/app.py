"""The HTTP side: routes, bodies, status codes. What to answer is decided elsewhere.

A call that cannot be read gets a 4xx, and `failurePolicy: Ignore` lets its request pass. A fault of our own never
gets that far: the request is allowed as it was, with a warning, and the fault is counted.
"""

import io
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache

from msgspec import Struct, field
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.session import AuditSession
from webhook import metrics
from webhook.reviews import binding, canary, exec_metadata, review
from webhook.reviews.json_value import BadReview
from webhook.reviews.profile_bindings import Policies
from webhook.reviews.review import Decision
from webhook.reviews.session_spec import Rules
from webhook.reviews.tag_mode import Known
from webhook.sparse_log import LONGEST, SparseLog

BINDING_PATH = "/mutate-v1-pod-binding"
EXEC_METADATA_PATH = "/mutate-v1-exec-metadata"
CANARY_PATH = "/canary"

_FAULT = "exectrail: internal error; the request goes on unchanged"

_MOST_DISCARDED = 4 * review.MAX_BYTES
"""Bytes of a body that are read although it is too large already."""
_PIECE = 16 << 10

log = logging.getLogger(__name__)
sparse = SparseLog(log)

Decide = Callable[[review.Request], Decision]


class Health(Struct):
    """Whether requests should come here: each condition by name, and not while the process drains.

    `notes` are for people who look: something is wrong, but requests are still answered well here.
    """

    conditions: dict[str, Callable[[], bool]] = field(default_factory=dict)
    draining: bool = False
    notes: Callable[[], list[str]] = list

    def missing(self) -> list[str]:
        """What is not there yet; nothing when ready."""
        return [name for name, holds in self.conditions.items() if not holds()] + ["not draining"] * self.draining


class Webhook(Struct, frozen=True):
    """What admission needs from the outside.

    `known` is what is known of a namespace and a pod in it, by their names; `policies` what a namespace wants for its
    new pods; `rules` what holds at this moment; `record` takes an AuditSession for writing and returns at once;
    `namespace` is the release's, in which sessions are made and no pod is changed.
    """

    known: Callable[[str, str], Known]
    policies: Callable[[str], Policies]
    rules: Callable[[], Rules]
    record: Callable[[AuditSession], None]
    namespace: str

    def bind(self, request: review.Request) -> Decision:
        """Answer a pod's creation, or an ephemeral container's."""
        decision = binding.decide(request, self.policies(request.namespace), self.namespace)
        _requests("binding", "debug" if request.sub_resource else "create", decision.reason).inc()
        return decision

    def tag(self, request: review.Request) -> Decision:
        """Answer an exec, attach, port-forward or debug, and record it as AuditSessions."""
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        decision = exec_metadata.decide(request, self.known(request.namespace, request.name), self.rules(), now)
        verb = next((session.verb for session in decision.sessions.values()), "none")
        _requests("exec-metadata", verb, decision.reason).inc()
        for uid, session in decision.sessions.items() if not request.dry_run else ():
            self.record(AuditSession(ObjectMeta(name=uid, namespace=self.namespace), session))
        return decision

    def canary(self, request: review.Request) -> Decision:
        """Answer the controller, which asks whether the webhook is reached."""
        decision = canary.decide(request)
        _requests("canary", "create", decision.reason).inc()
        return decision


_requests = cache(metrics.REQUESTS.labels)  # which looks for the same few each time


def admission_app(webhook: Webhook, health: Health) -> ASGIApp:
    """Build what the TLS port serves."""
    reviews = {
        BINDING_PATH: _Review("binding", webhook.bind, health),
        EXEC_METADATA_PATH: _Review("exec-metadata", webhook.tag, health),
        CANARY_PATH: _Review("canary", webhook.canary, health),
    }
    others = Starlette(
        routes=[
            *(Route(path, review, methods=["POST"]) for path, review in reviews.items()),
            *_health_routes(health),
        ]
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # Reviews go past Starlette's middleware and routing, which take half as long as the decision.
        review = reviews.get(scope["path"]) if scope.get("method") == "POST" else None
        await (review or others)(scope, receive, send)

    return app


def status_app(health: Health) -> Starlette:
    """Build what the plain port serves: health and metrics."""

    async def metrics_page(http: Request) -> Response:
        await http.body()  # its turn comes with the end of the body
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/metrics", metrics_page), *_health_routes(health)])


def respond(name: str, decide: Decide, body: bytes) -> bytes:
    """Answer one webhook call.

    Raises:
        BadReview: The body cannot be read.

    """
    request = review.decode(body)
    try:
        decision = decide(request)
    except BadReview:
        raise
    except Exception:
        metrics.ERRORS.labels(name).inc()
        log.exception("fault in %s; the request goes on unchanged", name, extra={"uid": request.uid})
        decision = Decision("error", warnings=[_FAULT])
    return review.answer(request, decision)


class _TooLarge(Exception):
    """A body of more than `review.MAX_BYTES`."""


class _Review:
    """One of the webhooks, as an ASGI application."""

    def __init__(self, name: str, decide: Decide, health: Health) -> None:
        self._name, self._decide, self._health = name, decide, health
        self._latency = metrics.LATENCY.labels(name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call; how long that took counts where it was a review."""
        try:
            body = await _body(receive)
            began = time.perf_counter()
            answer = respond(self._name, self._decide, body)
        except ClientDisconnect:
            await self._refuse(400, "the body ended early")(scope, receive, send)
        except _TooLarge:
            await self._refuse(413, f"a body of more than {review.MAX_BYTES} bytes")(scope, receive, send)
        except BadReview as error:
            await self._refuse(400, str(error))(scope, receive, send)
        else:
            del body  # it may be large, and the caller slow to take the answer
            await self._send(answer, send)
            self._latency.observe(time.perf_counter() - began)

    async def _send(self, answer: bytes, send: Send) -> None:
        """Send it in pieces, as fast as the caller takes it: at once, a large one would be there three times."""
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        if self._health.draining:
            # The API server keeps its connections to a pod that ends: this sends it on to another one.
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for at in range(0, len(answer), _PIECE):
            more = at + _PIECE < len(answer)
            await send({"type": "http.response.body", "body": answer[at : at + _PIECE], "more_body": more})

    def _refuse(self, status: int, why: str) -> Response:
        metrics.BAD_REQUESTS.labels(self._name, status).inc()
        sparse.warning(f"{self._name} {status}", f"refused a call of {self._name}: {why}")
        return Response(f"{why[:LONGEST]}\n", status, media_type="text/plain", headers={"connection": "close"})


async def _body(receive: Receive) -> bytes:
    """Read the whole body.

    Raises:
        ClientDisconnect: It ended early.
        _TooLarge: It has too many bytes. All of them were read, within bounds: a caller that is still writing when
            its connection closes never sees the answer.

    """
    body, length, more = io.BytesIO(), 0, True  # which gives its bytes away without a copy
    while more and length <= _MOST_DISCARDED:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece, more = message.get("body", b""), message.get("more_body", False)
        length += len(piece)
        if length <= review.MAX_BYTES:
            body.write(piece)
        else:
            body = io.BytesIO()
    if length > review.MAX_BYTES:
        raise _TooLarge
    return body.getvalue()


def _health_routes(health: Health) -> list[Route]:
    async def healthz(_http: Request) -> Response:
        return Response("ok\n", media_type="text/plain")

    async def readyz(_http: Request) -> Response:
        missing = health.missing()
        text = "\n".join([f"not ready: {', '.join(missing)}" if missing else "ok", *health.notes(), ""])
        return Response(text, 503 if missing else 200, media_type="text/plain")

    return [Route("/healthz", healthz), Route("/readyz", readyz)]
