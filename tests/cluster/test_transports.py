"""kubectl carries an exec over a WebSocket, which is a GET, or over SPDY, which is a POST: both are recorded alike."""

import pytest

from .sessions import Person, api_audit_event, programs


@pytest.mark.parametrize(("websocket", "verb"), [("true", "get"), ("false", "create")], ids=["WebSocket", "SPDY"])
def test_an_exec_is_tagged_whatever_carries_it(alice: Person, recorded: str, websocket: str, verb: str) -> None:
    alice.cluster.env = {**alice.cluster.env, "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": websocket}

    uid, records = alice.executes(recorded, "id")

    assert api_audit_event(alice.admin, uid)["verb"] == verb
    assert programs(records) == ["env", "id"]
    assert {(record.user, record.state) for record in records} == {("alice", "confirmed")}
