"""Where a namespace requires it, a request has its record before the answer, or is refused with a way out."""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message

from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.session import AuditSession, SessionSpec, Target, User
from exectrail.k8s.client import ApiError
from webhook.app import EXEC_METADATA_PATH, REQUIRED_PATH, Health, Webhook, admission_app
from webhook.reviews import exec_metadata
from webhook.reviews.tag_mode import Known
from webhook.sessions.limits import Limits, Rate
from webhook.sessions.required import RequiredWriter
from webhook.sessions.writer import NO_LIMIT, SessionWriter

Load = Callable[..., dict[str, Any]]
Create = Callable[[bytes, float], None]


def counted(result: str) -> float:
    return REGISTRY.get_sample_value("exectrail_webhook_required_total", {"result": result}) or 0


def answer(webhook: Webhook, health: Health, body: dict[str, Any]) -> dict[str, Any]:
    reply = TestClient(admission_app(webhook, health)).post(REQUIRED_PATH, json=body)
    assert reply.status_code == 200
    response: dict[str, Any] = reply.json()["response"]
    return response


def failing(webhook: Webhook, refused: list[AuditSession], break_glass: str = "") -> Webhook:
    async def fail(_sessions: list[AuditSession]) -> str | None:
        return "exceeded quota"

    return msgspec.structs.replace(
        webhook,
        write=fail,
        refused=refused.append,
        known=lambda _namespace, _pod: Known({"exectrail.io/record": "true"}, break_glass=break_glass),
    )


@pytest.mark.parametrize(
    ("name", "verbs"),
    [
        ("exec-sh", ["exec"]),
        ("attach", ["attach"]),
        ("portforward", ["portforward"]),
        ("ephemeralcontainers", ["debug"]),
    ],
)
def test_the_session_is_written_before_the_answer_which_is_the_same(
    webhook: Webhook, health: Health, review: Load, sessions: list[AuditSession], name: str, verbs: list[str]
) -> None:
    before = counted("written")
    ordinary = TestClient(admission_app(webhook, health)).post(EXEC_METADATA_PATH, json=review(name)).json()
    sessions.clear()

    assert answer(webhook, health, review(name)) == ordinary["response"]
    assert [session.spec.verb for session in sessions] == verbs
    assert counted("written") == before + 1


def requests(outcome: str, reason: str) -> float:
    labels = {"webhook": "exec-metadata", "verb": "exec", "outcome": outcome, "reason": reason}
    return REGISTRY.get_sample_value("exectrail_webhook_requests_total", labels) or 0


def test_a_request_is_counted_as_what_became_of_it(webhook: Webhook, health: Health, review: Load) -> None:
    before = requests("patched", "tagged"), requests("refused", "refused")

    answer(webhook, health, review("exec-sh"))
    assert (requests("patched", "tagged"), requests("refused", "refused")) == (before[0] + 1, before[1])
    answer(failing(webhook, []), health, review("exec-sh"))
    assert (requests("patched", "tagged"), requests("refused", "refused")) == (before[0] + 1, before[1] + 1)


@pytest.mark.parametrize("name", ["exec-sh", "attach", "portforward", "ephemeralcontainers"])
def test_what_cannot_be_written_is_refused_with_a_sentence_that_says_what_to_do(
    webhook: Webhook, health: Health, review: Load, sessions: list[AuditSession], name: str
) -> None:
    before, refused, body = counted("refused"), list[AuditSession](), review(name)

    response = answer(failing(webhook, refused), health, body)

    assert response == {
        "uid": body["request"]["uid"],
        "allowed": False,
        "status": {
            "message": "exectrail: namespace default requires a record of this request (label "
            "exectrail.io/require-audit=true), and it could not be written: exceeded quota. Try again. In an emergency "
            "set the annotation exectrail.io/break-glass=<reason> on the namespace, or remove the label",
            "reason": "Forbidden",
            "code": 403,
        },
    }
    assert [session.metadata.name for session in refused] == [body["request"]["uid"]]
    assert sessions == []
    assert counted("refused") == before + 1


def test_where_the_glass_is_broken_it_passes_with_a_warning_and_its_session_carries_the_reason(
    webhook: Webhook, health: Health, review: Load, sessions: list[AuditSession]
) -> None:
    before, refused = counted("break-glass"), list[AuditSession]()

    response = answer(failing(webhook, refused, "etcd is full"), health, review("exec-sh"))

    assert response["allowed"]
    assert "patch" in response
    assert response["warnings"] == [
        "exectrail: break-glass: the request passes although it could not be recorded yet: exceeded quota"
    ]
    assert [session.spec.break_glass for session in sessions] == ["etcd is full"]
    assert refused == []
    assert counted("break-glass") == before + 1


def test_with_the_glass_broken_what_is_over_a_limit_is_written_later(
    webhook: Webhook, health: Health, review: Load
) -> None:
    stored, lost = list[str](), list[str]()

    def create(body: bytes, _seconds: float | None = None) -> None:
        stored.append(json.loads(body)["metadata"]["name"])

    limits = Limits(Rate(0.001, 1), NO_LIMIT)
    writer = SessionWriter(create, 1 << 20, limits, unwritten=lambda each, _cause: lost.append(each.metadata.name))
    writer.start()
    hook = msgspec.structs.replace(
        failing(webhook, [], "etcd is full"),
        write=RequiredWriter(create, 5, limits, NO_LIMIT).write,
        record=writer.put,
        record_late=partial(writer.put, limited=False),
    )
    uids = [f"{number:08d}-4b0b-4c52-9b0b-5f2f0f8f6b0a" for number in range(3)]
    answers = [answer(hook, health, review("exec-sh", uid=uid)) for uid in uids]
    writer.close(5)

    assert [each["allowed"] for each in answers] == [True] * 3
    assert "user-limit" in answers[-1]["warnings"][-1]
    assert (sorted(stored), lost) == (uids, [])


@pytest.mark.parametrize(
    ("name", "changes"),
    [("exec-sh", {"dryRun": True}), ("pod-create", {}), ("exec-sh", {"operation": "DELETE"})],
    ids=["dry run", "a pod that debugs no node", "nothing to record"],
)
def test_what_needs_no_session_is_never_refused(
    webhook: Webhook, health: Health, review: Load, name: str, changes: dict[str, object]
) -> None:
    assert answer(failing(webhook, []), health, review(name, **changes))["allowed"]


@pytest.mark.parametrize(("break_glass", "allowed"), [("", False), ("fire", True)])
def test_a_fault_of_our_own_refuses_the_request_unless_the_glass_is_broken(
    webhook: Webhook,
    health: Health,
    review: Load,
    monkeypatch: pytest.MonkeyPatch,
    break_glass: str,
    allowed: bool,
) -> None:
    monkeypatch.delattr(exec_metadata, "session_spec")

    response = answer(failing(webhook, [], break_glass), health, review("exec-sh"))

    assert response["allowed"] is allowed
    assert "internal error" in str(response)


def test_a_fault_while_it_is_written_refuses_the_request(webhook: Webhook, health: Health, review: Load) -> None:
    async def fault(_sessions: list[AuditSession]) -> str | None:
        raise MemoryError

    response = answer(msgspec.structs.replace(webhook, write=fault), health, review("exec-sh"))

    assert not response["allowed"]
    assert "internal error of exectrail" in response["status"]["message"]


def test_others_are_answered_while_a_request_waits_for_its_session(
    webhook: Webhook, health: Health, review: Load
) -> None:
    async def both() -> list[str]:
        stored, order = asyncio.Event(), []

        async def slow(_sessions: list[AuditSession]) -> str | None:
            await stored.wait()
            return None

        app = admission_app(msgspec.structs.replace(webhook, write=slow), health)
        waiting = asyncio.create_task(post(app, REQUIRED_PATH, review("exec-sh")))
        waiting.add_done_callback(lambda _: order.append("required"))
        assert await post(app, EXEC_METADATA_PATH, review("attach"))
        order.append("other")
        stored.set()
        assert await waiting
        return order

    assert asyncio.run(both()) == ["other", "required"]


async def post(app: ASGIApp, path: str, body: dict[str, Any]) -> bytes:
    """The answer's body."""
    answer = b""

    async def receive() -> Message:
        return {"type": "http.request", "body": json.dumps(body).encode()}

    async def send(message: Message) -> None:
        nonlocal answer
        answer += message.get("body", b"")

    await app({"type": "http", "method": "POST", "path": path}, receive, send)
    return answer


# ---- the writer ----


def session(name: str = "s1", user: str = "alice") -> AuditSession:
    spec = SessionSpec(User(user), "exec", "pods/exec", Target("shop", "web"), "now")
    return AuditSession(ObjectMeta(name=name), spec)


def written(create: Create, *sessions: AuditSession, seconds: float = 5, **limits: Any) -> str | None:
    async def write() -> str | None:
        writer = RequiredWriter(create, seconds, limits.get("limits", NO_LIMITS), limits.get("pace", NO_LIMIT))
        return await writer.write(list(sessions))

    return asyncio.run(write())


NO_LIMITS = Limits(NO_LIMIT, NO_LIMIT)


class Api:
    """Creates sessions, or fails on demand: one answer after the other, then only yes."""

    def __init__(self, *answers: Exception) -> None:
        self.answers = list(answers)
        self.names: list[str] = []

    def __call__(self, body: bytes, _seconds: float) -> None:
        if self.answers:
            raise self.answers.pop(0)
        self.names.append(json.loads(body)["metadata"]["name"])


def test_all_sessions_of_a_request_are_stored() -> None:
    api = Api()
    assert written(api, session("s1"), session("s2")) is None
    assert sorted(api.names) == ["s1", "s2"]


def test_one_that_is_not_stored_is_enough_to_say_why() -> None:
    assert written(Api(ApiError(403, "Forbidden", "by a policy")), session("s1"), session("s2")) == (
        "Forbidden: by a policy"
    )


@pytest.mark.parametrize("status", [0, 401, 429, 500, 503])
def test_a_passing_failure_is_tried_again(status: int) -> None:
    api = Api(ApiError(status, "", "later"))
    assert written(api, session()) is None
    assert api.names == ["s1"]


QUOTA_CHANGED = ApiError(409, "Conflict", 'cannot be fulfilled on resourcequotas "sessions": it has been modified')
"""What the API server says where a ResourceQuota has changed under it; nothing is stored."""


def test_a_conflict_is_tried_again_and_not_taken_for_stored() -> None:
    api = Api(QUOTA_CHANGED, QUOTA_CHANGED)
    assert written(api, session()) is None
    assert api.names == ["s1"]
    assert written(Api(*[QUOTA_CHANGED] * 100), session(), seconds=0.5) == str(QUOTA_CHANGED)


def test_one_that_is_there_already_is_stored() -> None:
    assert written(Api(ApiError(409, "AlreadyExists", "there")), session()) is None


def test_a_failure_that_does_not_pass_in_time_is_the_reason() -> None:
    assert written(Api(*[ApiError(503, "", "etcd is away")] * 100), session(), seconds=2) == "etcd is away"


def test_what_the_api_server_said_tells_more_than_that_a_later_try_got_no_answer() -> None:
    full = ApiError(403, "Forbidden", "exceeded quota: sessions")
    cut_off = ApiError(0, "", "timed out")

    assert written(Api(full, *[cut_off] * 100), session(), seconds=0.5) == "Forbidden: exceeded quota: sessions"
    assert written(Api(*[cut_off] * 100), session(), seconds=0.5) == "timed out"


def test_an_api_server_that_does_not_answer_is_waited_for_no_longer_than_allowed() -> None:
    answered = threading.Event()
    began = time.monotonic()

    def stall(_body: bytes, _seconds: float) -> None:
        answered.wait(10)

    async def write() -> tuple[str | None, float]:
        writer = RequiredWriter(stall, 0.2, NO_LIMITS, NO_LIMIT)
        why = await writer.write([session()])
        took = time.monotonic() - began
        answered.set()
        return why, took

    why, took = asyncio.run(write())

    assert why == "the API server did not store it within 0.2 s"
    assert took < 2


def test_a_fault_is_a_reason() -> None:
    assert written(Api(ZeroDivisionError()), session()) == "internal error of exectrail"


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ({"limits": Limits(Rate(0.001, 1), NO_LIMIT)}, "too many at once (user-limit)"),
        ({"limits": Limits(NO_LIMIT, Rate(0.001, 1))}, "too many at once (namespace-limit)"),
        ({"pace": Rate(0.001, 1)}, "too many at once (total-limit)"),
    ],
)
def test_what_is_over_a_limit_is_not_written(limits: dict[str, Any], why: str) -> None:
    api = Api()
    assert written(api, session("s1"), session("s2"), **limits) == why
    assert api.names == []
