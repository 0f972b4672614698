"""The enricher takes the key of command hashes as soon as there is one, and compares texts until then."""

import base64
import json
import logging

import pytest

from enricher.correlate import command_key
from enricher.correlate.request_index import RequestIndex
from exectrail.k8s.client import Client
from exectrail.k8s.command_key import path_of
from tests.unit.exectrail.api_server import ApiServer
from tests.unit.waiting import until

PATH = path_of("audit", "key")


def secret(key: bytes) -> bytes:
    data = {"key": base64.b64encode(key).decode()} if key else None
    return json.dumps({"metadata": {"name": "key"}, "data": data}).encode()


@pytest.mark.parametrize("before", [None, secret(b"")], ids=["no Secret", "an empty Secret"])
def test_a_key_that_comes_late_is_taken(monkeypatch: pytest.MonkeyPatch, before: bytes | None) -> None:
    monkeypatch.setattr(command_key, "_EVERY", 0.01)
    with ApiServer() as api:
        if before:
            api.created[PATH] = before
        asked = RequestIndex()
        command_key.follow(Client(api.url), "audit", "key", asked)
        until(lambda: len(api.asked) > 2)
        assert asked.key is None

        api.created[PATH] = secret(b"k" * 32)
        until(lambda: asked.key == b"k" * 32)


def test_what_is_no_key_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    with ApiServer() as api:
        api.created[PATH] = secret(b"short")
        asked = RequestIndex()
        command_key.follow(Client(api.url), "audit", "key", asked)
        until(lambda: caplog.records)

    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "commands are compared by their text: Secret audit/key" in caplog.text
