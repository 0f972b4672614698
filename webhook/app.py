"""The HTTP side: routes, bodies, status codes. What to answer is decided elsewhere.

A call that cannot be read gets a 4xx, and `failurePolicy: Ignore` lets its request pass. A fault of our own never
gets that far: the request is allowed as it was, with a warning, and the fault is counted.
"""

import io
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import cache

import msgspec
from msgspec import Struct, field
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.session import BREAK_GLASS_ANNOTATION, REQUIRE_AUDIT_LABEL, AuditSession
from webhook import metrics
from webhook.reviews import binding, break_glass, canary, exec_metadata, review
from webhook.reviews.json_value import BadReview
from webhook.reviews.profile_bindings import Policies
from webhook.reviews.review import Decision
from webhook.reviews.session_spec import Rules
from webhook.reviews.tag_mode import Known
from webhook.sparse_log import LONGEST, SparseLog

BINDING_PATH = "/mutate-v1-pod-binding"
EXEC_METADATA_PATH = "/mutate-v1-exec-metadata"
CANARY_PATH = "/canary"
REQUIRED_PATH = "/mutate-v1-exec-metadata-required"
"""The same for namespaces that require a record: which ones these are, the API server tells by its own copy."""
BREAK_GLASS_PATH = "/mutate-v1-break-glass"

_FAULT = "exectrail: internal error; the request goes on unchanged"

_REFUSAL = (
    "exectrail: namespace {namespace} requires a record of this request (label {label}=true), and it could not be "
    "written: {why}. Try again. In an emergency set the annotation {annotation}=<reason> on the namespace, "
    "or remove the label"
)
_WITHOUT = "exectrail: break-glass: the request passes although it could not be recorded yet: {why}"

_MOST_DISCARDED = 4 * review.MAX_BYTES
"""Bytes of a body that are read although it is too large already."""
_PIECE = 16 << 10

log = logging.getLogger(__name__)
sparse = SparseLog(log)

Decide = Callable[[review.Request], Decision]
Prepare = Callable[[str], Awaitable[None]]
"""What is waited for before the decision about a request in this namespace."""
Settle = Callable[[review.Request, Decision], Awaitable[Decision]]
"""What is still to be done before the answer, and may take a while."""


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
    new pods; `catch_up` waits a moment for that, where it is not known; `rules` what holds at this moment; `record`
    takes an AuditSession for writing and returns at once; `record_late` does so with one that could not be written
    before its request passed, whatever the limits of its user and namespace; `write` writes some before it returns, or
    says why it cannot; `refused` takes one of a request that is refused; `namespace` is the release's, in which
    sessions are made and no pod is changed.
    """

    known: Callable[[str, str], Known]
    policies: Callable[[str], Policies]
    catch_up: Callable[[str], Awaitable[None]]
    rules: Callable[[], Rules]
    record: Callable[[AuditSession], None]
    record_late: Callable[[AuditSession], None]
    write: Callable[[list[AuditSession]], Awaitable[str | None]]
    refused: Callable[[AuditSession], None]
    namespace: str

    def bind(self, request: review.Request) -> Decision:
        """Answer a pod's creation, or an ephemeral container's."""
        decision = binding.decide(request, self.policies(request.namespace), self.namespace)
        _count("binding", "debug" if request.sub_resource else "create", decision)
        return decision

    def tag(self, request: review.Request) -> Decision:
        """Answer an exec, attach, port-forward or debug, and record it as AuditSessions."""
        decision = self.tag_required(request)
        _count("exec-metadata", _verb(decision), decision)
        self._record(request, decision)
        return decision

    def tag_required(self, request: review.Request) -> Decision:
        """Answer it; `settle` records it before the answer."""
        return exec_metadata.decide(request, self.known(request.namespace, request.name), self.rules(), _now())

    async def settle(self, request: review.Request, decision: Decision) -> Decision:
        """Record it, or refuse it where that cannot be done, unless the glass is broken."""
        settled = await self._settled(request, decision)
        _count("exec-metadata", _verb(decision), settled)
        return settled

    async def _settled(self, request: review.Request, decision: Decision) -> Decision:
        is_fault = decision.reason == "error"
        if not is_fault and (request.dry_run or not decision.sessions):
            return decision
        why = "internal error of exectrail" if is_fault else await self.write(self._sessions(decision))
        if why is None:
            metrics.REQUIRED.labels("written").inc()
            return decision
        if self.known(request.namespace, request.name).break_glass:
            metrics.REQUIRED.labels("break-glass").inc()
            for session in self._sessions(decision):
                self.record_late(session)
            warning = _WITHOUT.format(why=why)[:LONGEST]
            return msgspec.structs.replace(decision, warnings=[*decision.warnings, warning])
        metrics.REQUIRED.labels("refused").inc()
        for session in self._sessions(decision):
            self.refused(session)
        return Decision("refused", refusal=_refusal(request.namespace, why))

    def break_glass(self, request: review.Request) -> Decision:
        """Answer a change of a namespace, and record who breaks the glass there."""
        decision = break_glass.decide(request, self.rules(), _now())
        _count("break-glass", "break-glass", decision)
        self._record(request, decision)
        return decision

    def canary(self, request: review.Request) -> Decision:
        """Answer the controller, which asks whether the webhook is reached."""
        decision = canary.decide(request)
        _count("canary", "create", decision)
        return decision

    def _record(self, request: review.Request, decision: Decision) -> None:
        for session in self._sessions(decision) if not request.dry_run else ():
            self.record(session)

    def _sessions(self, decision: Decision) -> list[AuditSession]:
        return [
            AuditSession(ObjectMeta(name=uid, namespace=self.namespace), session)
            for uid, session in decision.sessions.items()
        ]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _refusal(namespace: str, why: str) -> str:
    return _REFUSAL.format(
        namespace=namespace[:LONGEST], label=REQUIRE_AUDIT_LABEL, why=why[:LONGEST], annotation=BREAK_GLASS_ANNOTATION
    )


_requests = cache(metrics.REQUESTS.labels)  # which looks for the same few each time


def _verb(decision: Decision) -> str:
    return next((session.verb for session in decision.sessions.values()), "none")


def _count(name: str, verb: str, decision: Decision) -> None:
    outcome = "refused" if decision.refusal else "patched" if decision.patch else "unchanged"
    _requests(name, verb, outcome, decision.reason).inc()


def _every_path(_token: str) -> bool:
    return True


def admission_app(webhook: Webhook, health: Health, admits: Callable[[str], bool] = _every_path) -> ASGIApp:
    """Build what the TLS port serves. `admits` says by what follows a path's first part whether it may be called."""
    reviews = {
        BINDING_PATH: _Review("binding", webhook.bind, health, prepare=webhook.catch_up),
        EXEC_METADATA_PATH: _Review("exec-metadata", webhook.tag, health),
        CANARY_PATH: _Review("canary", webhook.canary, health),
        REQUIRED_PATH: _Review("exec-metadata-required", webhook.tag_required, health, settle=webhook.settle),
        BREAK_GLASS_PATH: _Review("break-glass", webhook.break_glass, health),
    }

    async def no_review(_http: Request) -> Response:
        """Starlette's routes match a line break at the end of a path as well: none of them leads to a review."""
        return Response("no such path\n", 404, media_type="text/plain")

    others = Starlette(
        routes=[
            *(Route(path, no_review, methods=["POST"]) for path in reviews),  # other methods: 405
            *_health_routes(health),
        ]
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # Reviews go past Starlette's middleware and routing, which take half as long as the decision.
        what, _, token = scope["path"][1:].partition("/")
        review = reviews.get(f"/{what}") if scope.get("method") == "POST" else None
        if review and not admits(token):
            await review.forbid(scope, receive, send)
        else:
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
    return review.answer(request, _decided(name, decide, request))


def _decided(name: str, decide: Decide, request: review.Request) -> Decision:
    try:
        return decide(request)
    except BadReview:
        raise
    except Exception:
        metrics.ERRORS.labels(name).inc()
        log.exception("fault in %s", name, extra={"uid": request.uid})
        return Decision("error", warnings=[_FAULT])


class _TooLarge(Exception):
    """A body of more than `review.MAX_BYTES`."""


class _Review:
    """One of the webhooks, as an ASGI application."""

    def __init__(
        self,
        name: str,
        decide: Decide,
        health: Health,
        *,
        prepare: Prepare | None = None,
        settle: Settle | None = None,
    ) -> None:
        self._name, self._decide, self._health = name, decide, health
        self._prepare, self._settle = prepare, settle
        self._latency = metrics.LATENCY.labels(name)
        metrics.ERRORS.labels(name)  # see the end of `webhook.metrics`

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call; how long that took counts where it was a review."""
        try:
            body = await _body(receive)
            began = time.perf_counter()
            answer = await self._answer(body)
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

    async def _answer(self, body: bytes) -> bytes:
        request = review.decode(body)
        if self._prepare:
            await self._prepare(request.namespace)
        decision = _decided(self._name, self._decide, request)
        try:
            decision = await self._settle(request, decision) if self._settle else decision
        except Exception:
            metrics.ERRORS.labels(self._name).inc()
            log.exception("fault in %s; the request is refused", self._name, extra={"uid": request.uid})
            decision = Decision("error", refusal=_refusal(request.namespace, "internal error of exectrail"))
        return review.answer(request, decision)

    async def forbid(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a call, whatever its body."""
        await self._refuse(403, "not the path that the webhook configuration has")(scope, receive, send)

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
