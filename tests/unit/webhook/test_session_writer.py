"""Sessions reach the API in the end, and no request waits for that."""

import json
import logging
import threading
import time
from pathlib import Path

import msgspec
import pytest
from prometheus_client import REGISTRY

from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.session import AuditSession, SessionSpec, Target, User
from exectrail.k8s.client import ApiError
from tests.unit.waiting import until
from webhook.sessions import writer as writer_module
from webhook.sessions.limits import Limits, Rate
from webhook.sessions.spool import Spool
from webhook.sessions.writer import NO_LIMIT, SessionWriter


def session(name: str, user: str = "alice") -> AuditSession:
    spec = SessionSpec(User(user), "exec", "pods/exec", Target("default", "web"), "now", ["cat", "secret"])
    return AuditSession(ObjectMeta(name=name, namespace="exectrail"), spec)


Lost = list[tuple[str, str]]
"""UIDs and causes of what was not written."""


def dropped(cause: str) -> float:
    return REGISTRY.get_sample_value("exectrail_webhook_sessions_dropped_total", {"cause": cause}) or 0


class Api:
    """Creates sessions, or fails on demand: one answer after the other, then only yes."""

    def __init__(self, *answers: Exception) -> None:
        self.answers = list(answers)
        self.names: list[str] = []
        self.calls: list[str] = []
        self.changed = threading.Condition()

    def create(self, body: bytes) -> None:
        name = json.loads(body)["metadata"]["name"]
        with self.changed:
            self.calls.append(name)
            self.changed.notify_all()
            if self.answers:
                raise self.answers.pop(0)
            self.names.append(name)

    def wait_for_calls(self, number: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.calls) >= number, timeout=10)


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "_BACKOFF_FIRST", 0.001)


def test_a_session_is_written_as_the_api_wants_it() -> None:
    bodies: list[bytes] = []
    writer = SessionWriter(bodies.append, 1 << 20)
    writer.start()
    writer.put(session("s1"))
    writer.close(5)

    assert json.loads(bodies[0]) == {
        "apiVersion": "exectrail.io/v1alpha1",
        "kind": "AuditSession",
        "metadata": {"name": "s1", "namespace": "exectrail"},
        "spec": {
            "user": {"username": "alice"},
            "verb": "exec",
            "resource": "pods/exec",
            "target": {"namespace": "default", "pod": "web"},
            "time": "now",
            "command": ["cat", "secret"],
        },
        "status": {},
    }


@pytest.mark.parametrize(
    ("status", "message"),
    [
        *[(status, "later") for status in (0, 401, 429, 500, 503)],
        (
            403,
            'auditsessions.exectrail.io "s1" is forbidden: exceeded quota: sessions, requested: 1, used: 9, limited: 9',
        ),
    ],
)
def test_a_passing_failure_is_tried_again_until_it_has_passed(status: int, message: str) -> None:
    api = Api(*[ApiError(status, "", message)] * 4)
    writer = SessionWriter(api.create, 1 << 20)
    writer.start()
    writer.put(session("s1"))
    api.wait_for_calls(5)
    writer.close(5)

    assert (api.names, len(api.calls)) == (["s1"], 5)


def test_a_session_that_keeps_failing_does_not_hold_up_the_others() -> None:
    def create(body: bytes) -> None:
        name = json.loads(body)["metadata"]["name"]
        if name == "poison":
            raise ApiError(500, "InternalError", "too large for etcd")
        written.append(name)
        if len(written) == 3:
            done.set()

    written: list[str] = []
    done = threading.Event()
    writer = SessionWriter(create, 1 << 20)
    for name in ("poison", "s1", "s2", "s3"):
        writer.put(session(name))
    writer.start()

    assert done.wait(10)
    assert written == ["s1", "s2", "s3"]
    writer.close(0)


def test_a_conflict_is_tried_again_and_not_taken_for_written() -> None:
    api = Api(ApiError(409, "Conflict", 'cannot be fulfilled on resourcequotas "sessions": it has been modified'))
    writer = SessionWriter(api.create, 1 << 20)
    writer.start()
    writer.put(session("s1"))
    api.wait_for_calls(2)
    writer.close(5)

    assert (api.calls, api.names) == (["s1", "s1"], ["s1"])


def test_a_session_that_is_there_already_is_written() -> None:
    before = REGISTRY.get_sample_value("exectrail_webhook_sessions_written_total") or 0
    api = Api(ApiError(409, "AlreadyExists", "there"))
    writer = SessionWriter(api.create, 1 << 20)
    writer.start()
    writer.put(session("s1"))
    writer.close(5)

    assert api.calls == ["s1"]
    assert REGISTRY.get_sample_value("exectrail_webhook_sessions_written_total") == before + 1


@pytest.mark.parametrize(
    ("failure", "cause"),
    [
        (ApiError(422, "Invalid", "no"), "refused"),
        (ApiError(403, "Forbidden", "by a policy"), "refused"),
        (ZeroDivisionError(), "error"),
    ],
)
def test_a_session_that_cannot_be_written_is_dropped_counted_and_logged_without_its_command(
    failure: Exception, cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = dropped(cause)
    api = Api(failure)
    lost: Lost = []
    writer = SessionWriter(api.create, 1 << 20, unwritten=lambda each, why: lost.append((each.metadata.name, why)))
    writer.start()
    with caplog.at_level(logging.ERROR):
        writer.put(session("s1"))
        writer.put(session("s2"))
        writer.close(5)

    assert (api.calls, api.names) == (["s1", "s2"], ["s2"])
    assert dropped(cause) == before + 1
    assert lost == [("s1", cause)]
    record = vars(caplog.records[-1])
    assert (record["uid"], record["user"], record["target"]) == ("s1", "alice", "default/web")
    assert "secret" not in str(record)


def test_what_could_not_be_written_before_the_end_is_counted() -> None:
    before = dropped("shutdown")
    api = Api(*[ApiError(0, "", "away")] * 1000)
    writer = SessionWriter(api.create, 1 << 20)
    writer.start()
    for number in range(10):
        writer.put(session(f"s{number}"))
    writer.close(0.05)
    writer.put(session("late"))

    assert dropped("shutdown") == before + 11


def test_an_idle_writer_ends_at_once() -> None:
    writer = SessionWriter(Api().create, 1 << 20)
    writer.start()
    ender = threading.Thread(target=writer.close, args=[60])
    ender.start()
    ender.join(10)

    assert not ender.is_alive()


def test_a_write_without_an_answer_at_the_end_is_counted() -> None:
    before = dropped("shutdown")
    hanging, answered = threading.Event(), threading.Event()

    def create(_body: bytes) -> None:
        hanging.set()
        answered.wait(10)

    writer = SessionWriter(create, 1 << 20)
    writer.start()
    writer.put(session("s1"))
    assert hanging.wait(10)
    writer.close(0.05)
    answered.set()

    assert dropped("shutdown") == before + 1


def test_a_full_api_drops_of_the_flooding_user_and_counts() -> None:
    before = dropped("queue-full")
    written: list[str] = []
    writer = SessionWriter(lambda body: written.append(json.loads(body)["metadata"]["name"]), 10_000)
    writer.put(session("quiet", user="bob"))
    for number in range(100):
        writer.put(session(f"s{number}"))
    assert dropped("queue-full") > before + 80

    writer.start()
    writer.close(5)
    assert written[0] == "quiet"
    assert written[-1] == "s99"


def test_what_is_over_a_limit_is_counted_and_logged_with_its_uid_and_not_written(
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = dropped("user-limit")
    api = Api()
    lost: Lost = []
    limits = Limits(Rate(0.001, 2), NO_LIMIT)
    writer = SessionWriter(
        api.create, 1 << 20, limits, unwritten=lambda each, cause: lost.append((each.metadata.name, cause))
    )
    writer.start()
    for number in range(4):
        writer.put(session(f"s{number}"))
    writer.put(session("other", user="bob"))
    writer.close(5)

    assert sorted(api.names) == ["other", "s0", "s1"]
    assert dropped("user-limit") == before + 2
    assert lost == [("s2", "user-limit"), ("s3", "user-limit")]
    (record,) = [vars(each) for each in caplog.records if "user-limit" in each.getMessage()]
    assert (record["uid"], record["user"], record["target"]) == ("s2", "alice", "default/web")


def test_what_is_to_be_written_whatever_the_limits_counts_for_none_of_them() -> None:
    api = Api()
    writer = SessionWriter(api.create, 1 << 20, Limits(Rate(0.001, 2), Rate(0.001, 2)))
    writer.start()
    for number in range(4):
        writer.put(session(f"late{number}"), limited=False)
    for number in range(3):
        writer.put(session(f"s{number}"))
    writer.close(5)

    assert sorted(api.names) == ["late0", "late1", "late2", "late3", "s0", "s1"]


def test_namespaces_that_are_not_known_have_one_limit_together() -> None:
    before = dropped("namespace-limit")
    api = Api()
    writer = SessionWriter(api.create, 1 << 20, Limits(NO_LIMIT, Rate(0.001, 2)))
    writer.start()
    for number in range(4):
        invented = session(f"s{number}", f"user{number}")
        target = Target(f"invented-{number}", "web")
        spec = msgspec.structs.replace(invented.spec, target=target)
        writer.put(msgspec.structs.replace(invented, spec=spec), known=False)
    writer.put(session("known"))
    writer.close(5)

    assert sorted(api.names) == ["known", "s0", "s1"]
    assert dropped("namespace-limit") == before + 2


def test_all_together_are_written_at_a_pace_and_what_comes_faster_waits() -> None:
    api = Api()
    writer = SessionWriter(api.create, 1 << 20, pace=Rate(20, 1))
    began = time.monotonic()
    writer.start()
    for number in range(5):
        writer.put(session(f"s{number}"))
    api.wait_for_calls(5)
    took = time.monotonic() - began
    writer.close(5)

    assert took >= 4 / 20


def test_the_pace_does_not_hold_up_the_end() -> None:
    api = Api()
    writer = SessionWriter(api.create, 1 << 20, pace=Rate(0.001, 1))
    writer.start()
    for number in range(5):
        writer.put(session(f"s{number}"))
    api.wait_for_calls(1)
    writer.close(5)

    assert len(api.names) == 5


def test_what_waits_at_the_end_is_written_by_the_next_start_and_then_forgotten(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before, away = dropped("shutdown"), Api(*[ApiError(0, "", "away")] * 1000)
    lost: Lost = []
    writer = SessionWriter(
        away.create, 1 << 20, unwritten=lambda each, why: lost.append((each.metadata.name, why)), spool=Spool(tmp_path)
    )
    writer.start()
    for number in range(10):
        writer.put(session(f"s{number}"))
    writer.close(0.05)

    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    # The pod may be deleted, and the file with it.
    assert sorted(lost) == [(f"s{number}", "shutdown") for number in range(10)]
    kept = {vars(each)["uid"] for each in caplog.records if "waits for the next start" in each.getMessage()}
    assert kept == {f"s{number}" for number in range(10)}
    assert dropped("shutdown") == before

    api = Api()
    writer = SessionWriter(api.create, 1 << 20, spool=Spool(tmp_path))
    writer.start()
    until(lambda: not list(tmp_path.iterdir()))
    writer.close(5)

    assert sorted(api.names) == [f"s{number}" for number in range(10)]


def test_what_is_not_written_by_the_next_start_either_stays(tmp_path: Path) -> None:
    for start in range(3):
        away = Api(*[ApiError(0, "", "away")] * 1000)
        writer = SessionWriter(away.create, 1 << 20, spool=Spool(tmp_path))
        writer.start()
        if start == 0:
            writer.put(session("s1"))
        away.wait_for_calls(1)
        writer.close(0.01)

    assert [entry.user for entry in Spool(tmp_path).read()] == ["alice"]


def test_what_cannot_be_kept_is_counted_and_logged_line_by_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = dropped("shutdown")
    writer = SessionWriter(Api().create, 1 << 20, spool=Spool(tmp_path / "absent"))
    for number in range(3):
        writer.put(session(f"s{number}"))
    writer._abandoned.set()  # as after the time for the end
    writer.close(0)

    assert dropped("shutdown") == before + 3
    assert [vars(each)["uid"] for each in caplog.records if "dropped" in each.getMessage()] == ["s0", "s1", "s2"]


def test_what_others_write_counts_for_the_pace() -> None:
    api = Api()
    writer = SessionWriter(api.create, 1 << 20, pace=Rate(20, 5))
    for _ in range(9):
        writer.took(1000)
    began = time.monotonic()
    writer.start()
    writer.put(session("s1"))
    api.wait_for_calls(1)
    took = time.monotonic() - began
    writer.close(5)

    assert took >= 4 / 20
