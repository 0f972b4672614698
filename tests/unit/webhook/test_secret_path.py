"""With a secret path only callers that know it are answered, and no replica refuses what the API server calls."""

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from starlette.testclient import TestClient

from exectrail.contracts.webhook_configuration import parted
from tests.unit.waiting import until
from tests.unit.webhook.small_api import SmallApi
from webhook.app import (
    BINDING_PATH,
    BREAK_GLASS_PATH,
    CANARY_PATH,
    EXEC_METADATA_PATH,
    REQUIRED_PATH,
    Health,
    Webhook,
    admission_app,
)
from webhook.issuer import rounds, secret_path
from webhook.issuer.configuration import PATH
from webhook.issuer.secret_path import Accepted, Due, SecretPath, due

SECRET = "/api/v1/namespaces/exectrail/secrets/path"
CONFIGURATION = f"{PATH}/exectrail"
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
TOKEN = "t" * 43
BASES = ("/mutate-v1-pod-binding", "/mutate-v1-exec-metadata", "/mutate-v1-exec-metadata")


def data(age: float = 60, token: str = TOKEN, created: str | None = None) -> dict[str, bytes]:
    at = (NOW - timedelta(seconds=age)).isoformat() if created is None else created
    return {"token": token.encode(), "created": at.encode()}


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        (data(), Due(new=False)),
        (data(5), Due(new=False)),
        (data(2), Due(new=False, wait=timedelta(seconds=3))),
        (data(-60), Due(new=False, wait=timedelta(seconds=5))),
        # by a replica whose clock is ahead; by one whose clock was
        (data(-3600), Due(new=False, wait=timedelta(seconds=5))),
        (data(-3601), Due(new=True)),
        (data(30 * 86400 - 1), Due(new=False)),
        (data(30 * 86400), Due(new=True)),
        ({}, Due(new=True)),
        (data(token=""), Due(new=True)),
        (data(token="short"), Due(new=True)),
        (data(token="../" * 20), Due(new=True)),
        (data(token="A" * 40), Due(new=True)),
        (data(token="a-" * 20), Due(new=True)),
        (data(token="a" * 65), Due(new=True)),
        (data(token="é" * 40), Due(new=True)),
        (data(created="yesterday"), Due(new=True)),
        (data(created="2026-11-29T11:00:00"), Due(new=True)),
        ({"token": TOKEN.encode()}, Due(new=True)),
    ],
)
def test_a_token_is_made_anew_when_it_is_old_or_none_and_called_once_all_know_it(
    secret: dict[str, bytes], expected: Due
) -> None:
    assert due(secret, NOW) == expected


def test_what_the_configuration_has_is_accepted_a_little_longer_the_plain_path_for_seconds() -> None:
    accepted = Accepted()
    accepted.look("own", {"", "old"}, 0)
    assert [accepted.admits(token) for token in ("own", "old", "", "other")] == [True, True, True, False]

    accepted.look("own", {"own"}, 4)
    assert [accepted.admits(token) for token in ("own", "old", "")] == [True, True, True]

    accepted.look("own", {"own"}, 59)
    assert [accepted.admits(token) for token in ("own", "old", "")] == [True, True, False]

    accepted.look("own", {"own"}, 61)
    assert [accepted.admits(token) for token in ("own", "old", "")] == [True, False, False]


@given(st.text())
def test_no_other_word_is_accepted(word: str) -> None:
    accepted = Accepted()
    accepted.look(TOKEN, set(), 0)

    assert accepted.admits(word) == (word == TOKEN)


def test_before_anything_is_known_nothing_is_accepted() -> None:
    assert not Accepted().admits("")
    empty = Accepted()
    empty.look("", set(), 0)
    assert not empty.admits("")


def configuration(*paths: str) -> dict[str, Any]:
    entries = [
        {"name": f"{at}.exectrail.io", "clientConfig": {"service": {"path": path}}} for at, path in enumerate(paths)
    ]
    return {"webhooks": entries}


RUNNING: list[SecretPath] = []


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("_SETTLE", "_SOON", "_FORGETTING", "_ABSENT"):
        monkeypatch.setattr(secret_path, name, timedelta(seconds=0.05))
    monkeypatch.setattr(secret_path, "_KEEP_PLAIN_SECONDS", 0.5)
    monkeypatch.setattr(rounds, "_BACKOFF_MOST", 0.05)
    yield
    while RUNNING:
        RUNNING.pop()._rounds._step = lambda: timedelta(days=1)


@pytest.fixture
def api(quick: None) -> SmallApi:
    """A cluster in which the chart was just installed."""
    api = SmallApi()
    api.put(SECRET, {"type": "Opaque"})
    api.put(CONFIGURATION, configuration(*BASES))
    return api


def started(api: SmallApi) -> SecretPath:
    path = SecretPath(api, "exectrail", "path", "exectrail")
    RUNNING.append(path)
    path.start()
    return path


def called(api: SmallApi) -> list[tuple[str, str]]:
    """Where each entry's calls go."""
    return [parted(each["clientConfig"]["service"]["path"]) for each in api.objects[CONFIGURATION]["webhooks"]]


def all_call(api: SmallApi) -> Callable[[], bool]:
    """Whether all entries call the Secret's token, behind the paths that they had."""
    return lambda: called(api) == [(base, api.data(SECRET)["token"].decode()) for base in BASES]


def test_the_configuration_gets_the_token_of_the_secret_and_all_replicas_accept_it(api: SmallApi) -> None:
    replicas = [started(api) for _ in range(3)]
    for replica in replicas:
        until(lambda replica=replica: replica.called)  # type: ignore[misc]

    assert all_call(api)()
    token = api.data(SECRET)["token"].decode()
    assert [(each.admits(token), each.admits(token[:-1])) for each in replicas] == [(True, False)] * 3
    until(lambda: not any(each.admits("") for each in replicas))


@pytest.mark.parametrize("paths", [BASES, [f"{base}/other" for base in BASES]], ids=["plain", "another token"])
def test_a_path_that_is_set_back_is_repaired(api: SmallApi, paths: list[str]) -> None:
    replica = started(api)
    until(lambda: replica.called)
    api.put(CONFIGURATION, configuration(*paths))

    until(all_call(api))
    until(lambda: not replica.admits(""))


def test_while_the_token_is_renewed_no_call_is_refused(api: SmallApi, monkeypatch: pytest.MonkeyPatch) -> None:
    # All replicas hear within it, also on a busy machine.
    monkeypatch.setattr(secret_path, "_SETTLE", timedelta(seconds=1))
    replicas = [started(api) for _ in range(3)]
    for replica in replicas:
        until(lambda replica=replica: replica.called)  # type: ignore[misc]
    before = api.data(SECRET)["token"]
    stale = {"token": base64.b64encode(before).decode(), "created": base64.b64encode(b"long ago").decode()}
    api.put(SECRET, {"data": stale})
    refused: list[str] = []

    def look() -> bool:
        refused.extend(token for _, token in called(api) for each in replicas if not each.admits(token))
        return api.data(SECRET)["token"] != before and all_call(api)()

    until(look)
    assert refused == []
    assert all(each.admits(before.decode()) for each in replicas)  # an API server may not have heard yet


@pytest.mark.parametrize("missing", [SECRET, CONFIGURATION])
def test_what_is_not_there_is_named_and_waited_for(
    api: SmallApi, caplog: pytest.LogCaptureFixture, missing: str
) -> None:
    there = api.objects[missing]
    api.remove(missing)
    replica = started(api)
    until(lambda: any("no secret path: there is no" in record.getMessage() for record in caplog.records))
    api.put(missing, there)

    until(lambda: replica.called)


@pytest.mark.parametrize("method", ["list", "patch", "json_patch"])
def test_whatever_the_api_refuses_is_tried_again(api: SmallApi, method: str) -> None:
    api.refuse[method] = 500
    replica = started(api)
    until(lambda: method == "list" or len(api.events) > 1)
    del api.refuse[method]

    until(lambda: replica.called)


ENTRIES = (BINDING_PATH, EXEC_METADATA_PATH, CANARY_PATH, REQUIRED_PATH, BREAK_GLASS_PATH)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{EXEC_METADATA_PATH}/{TOKEN}", 200),
        (EXEC_METADATA_PATH, 403),
        (f"{EXEC_METADATA_PATH}/", 403),
        (f"{EXEC_METADATA_PATH}/{TOKEN}/", 403),
        (f"{EXEC_METADATA_PATH}/{TOKEN[:-1]}", 403),
        (f"/{EXEC_METADATA_PATH}/{TOKEN}", 404),
        *((f"{path}%0A", 404) for path in ENTRIES),
        ("/healthz", 200),
    ],
)
def test_only_calls_to_the_secret_path_are_answered_and_others_are_counted(
    webhook: Webhook, review: Callable[..., dict[str, Any]], path: str, status: int
) -> None:
    client = TestClient(admission_app(webhook, Health(), lambda token: token == TOKEN))
    name, labels = "exectrail_webhook_bad_requests_total", {"webhook": "exec-metadata", "status": "403"}
    before = REGISTRY.get_sample_value(name, labels) or 0
    method = "GET" if path == "/healthz" else "POST"

    assert client.request(method, path, content=json.dumps(review("attach"))).status_code == status
    assert (REGISTRY.get_sample_value(name, labels) or 0) - before == (status == 403)


@pytest.mark.parametrize("path", [EXEC_METADATA_PATH, f"{EXEC_METADATA_PATH}/{TOKEN}"])
def test_without_a_secret_path_whatever_is_behind_the_path_is_answered(
    webhook: Webhook, review: Callable[..., dict[str, Any]], path: str
) -> None:
    client = TestClient(admission_app(webhook, Health()))

    assert client.post(path, content=json.dumps(review("attach"))).status_code == 200
