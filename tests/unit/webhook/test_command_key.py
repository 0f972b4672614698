"""All replicas hash with one key, whichever of them filled it in."""

import base64
import json
from collections.abc import Iterator

import pytest

from exectrail.k8s.client import ApiError, Client
from exectrail.k8s.command_key import NoKey, UnusableKey, read_key
from tests.unit.exectrail.api_server import ApiServer
from tests.unit.waiting import until
from webhook.sessions import command_key
from webhook.sessions.command_key import CommandKey

SECRETS = "/api/v1/namespaces/audit/secrets"
NOT_FOUND = (404, b'{"kind": "Status", "code": 404, "reason": "NotFound", "message": "not found"}')
CONFLICT = (409, b'{"kind": "Status", "code": 409, "reason": "Conflict", "message": "the object has been modified"}')
EMPTY = b'{"metadata": {"name": "key", "resourceVersion": "7"}, "type": "Opaque"}'
FORBIDDEN = (403, b'{"kind": "Status", "code": 403, "reason": "Forbidden", "message": "no right"}')


def secret(key: bytes) -> bytes:
    return json.dumps({"metadata": {"name": "key"}, "data": {"key": base64.b64encode(key).decode()}}).encode()


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    monkeypatch.setattr(command_key, "_BACKOFF_FIRST", 0.01)
    with ApiServer() as server:
        server.created[f"{SECRETS}/key"] = EMPTY
        yield server


def started(api: ApiServer) -> CommandKey:
    key = CommandKey(Client(api.url), "audit", "key")
    key.start()
    return key


def known(api: ApiServer) -> bytes:
    key = started(api)
    until(lambda: key.value is not None)
    assert key.value
    return key.value


def test_the_first_replica_fills_in_a_key_that_cannot_be_changed(api: ApiServer) -> None:
    key = known(api)

    made = json.loads(api.created[f"{SECRETS}/key"])
    assert (made["type"], made["immutable"]) == ("Opaque", True)
    assert base64.b64decode(made["data"]["key"]) == key
    assert len(key) == 32
    assert [asked.method for asked in api.asked] == ["GET", "PATCH"]


def test_every_other_replica_and_the_enricher_read_it(api: ApiServer) -> None:
    first = known(api)

    assert known(api) == first
    assert read_key(Client(api.url), "audit", "key") == first


def test_a_key_of_before_is_kept(api: ApiServer) -> None:
    api.created[f"{SECRETS}/key"] = secret(b"o" * 32)

    assert known(api) == b"o" * 32
    assert {asked.method for asked in api.asked} == {"GET"}


def test_no_two_installations_have_the_same_key(api: ApiServer) -> None:
    first = known(api)
    api.created[f"{SECRETS}/key"] = EMPTY

    assert known(api) != first


def test_of_two_replicas_that_start_at_once_one_takes_the_others_key(api: ApiServer) -> None:
    api.created[f"{SECRETS}/key"] = secret(b"o" * 32)
    api.canned += [(200, EMPTY), CONFLICT]  # it was empty still when this one looked

    assert known(api) == b"o" * 32
    change = json.loads(next(asked.body for asked in api.asked if asked.method == "PATCH"))
    assert change["metadata"] == {"resourceVersion": "7"}


def test_the_empty_secret_is_no_key_yet(api: ApiServer) -> None:
    with pytest.raises(NoKey, match="Secret audit/key has no 'key' yet"):
        read_key(Client(api.url), "audit", "key")


@pytest.mark.parametrize("answer", [FORBIDDEN, NOT_FOUND, (500, b"down"), (200, b"{}"), (200, secret(b"short"))])
def test_whatever_stands_in_the_way_it_tries_again(api: ApiServer, answer: tuple[int, bytes]) -> None:
    api.created[f"{SECRETS}/key"] = secret(b"o" * 32)
    api.canned += [answer] * 3

    assert known(api) == b"o" * 32
    assert len(api.asked) == 4


def test_a_secret_without_a_key_is_refused_and_the_remedy_is_named(api: ApiServer) -> None:
    api.created[f"{SECRETS}/key"] = secret(b"short")

    with pytest.raises(UnusableKey, match=r"Secret audit/key: 'key' has 5 bytes instead of 32; delete the Secret"):
        read_key(Client(api.url), "audit", "key")


def test_a_missing_secret_is_an_error_with_status_404(api: ApiServer) -> None:
    del api.created[f"{SECRETS}/key"]
    with pytest.raises(ApiError) as refused:
        read_key(Client(api.url), "audit", "key")

    assert refused.value.status == 404
