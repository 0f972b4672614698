"""No answer waits for the API server: not when it hangs, not when it is gone, not before it was ever there."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.unit.exectrail.api_server import ApiServer
from tests.unit.waiting import until
from tests.unit.webhook.process import Process, post

Run = Callable[..., Process]
Load = Callable[..., dict[str, Any]]
PatchOf = Callable[[dict[str, Any]], list[Any]]

SESSIONS = "/apis/exectrail.io/v1alpha1/namespaces/exectrail/auditsessions"
TIMEOUT = 3.0
"""Of the API server's calls, in seconds."""


@pytest.fixture
def hanging(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """AuditSessions hang once a test clears this event, until it sets it again."""
    going = threading.Event()
    going.set()

    def answering(body: bytes) -> bytes:
        if json.loads(body)["kind"] == "AuditSession":
            going.wait(60)
        return body

    monkeypatch.setattr(api, "answering", answering)
    yield going
    going.set()


def answers(process: Process, review: Load, count: int, **changes: object) -> list[dict[str, Any]]:
    """So many execs on one connection, each answered in time."""
    connection = process.connect()
    connection.timeout = TIMEOUT
    found = []
    for number in range(count):
        uid = f"{number:08x}-0000-0000-0000-000000000000"
        found.append(post(connection, review("exec-sh", uid=uid, **changes))[0])
    connection.close()
    return found


def _listens(process: Process) -> bool:
    with closing(process.connect()) as connection:
        try:
            connection.connect()
        except OSError:
            return False
    return True


def written(api: ApiServer) -> int:
    return sum(path.startswith(f"{SESSIONS}/") for path in api.created)


def test_an_api_server_that_hangs_delays_no_answer_and_what_waits_is_written_later(
    run: Run, api: ApiServer, review: Load, hanging: threading.Event
) -> None:
    api.set("default", **{"exectrail.io/record": "true", "exectrail.io/tag": "env"})
    process = run()
    process.wait_until_ready()
    until(lambda: "patch" in answers(process, review, 1, dryRun=True)[0])
    hanging.clear()

    found = answers(process, review, 200)

    assert all(each["allowed"] and "patch" in each for each in found)
    assert written(api) == 0
    hanging.set()
    until(lambda: written(api) == 200)


def test_what_was_known_decides_while_the_api_server_is_gone(run: Run, api: ApiServer, review: Load) -> None:
    api.set("default", **{"exectrail.io/record": "true", "exectrail.io/tag": "env"})
    process = run()
    process.wait_until_ready()
    until(lambda: "patch" in answers(process, review, 1, dryRun=True)[0])
    api.stop()

    found = answers(process, review, 50)

    assert all(each["allowed"] and "patch" in each for each in found)
    api.start()
    until(lambda: written(api) == 50)


def test_before_anything_is_known_a_request_passes_untagged_and_is_recorded(
    run: Run, api: ApiServer, review: Load
) -> None:
    api.stop()
    process = run()
    until(lambda: _listens(process))

    (found,) = answers(process, review, 1)

    assert found["allowed"]
    assert "patch" not in found
    assert "the namespace is not known here yet" in found["warnings"][0]
    assert process.get("/readyz")[0] == 503
    api.start()
    until(lambda: written(api) == 1)
