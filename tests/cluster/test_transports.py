"""kubectl carries an exec over a WebSocket, which is a GET, or over SPDY, which is a POST: both are recorded alike.

And a way past `pods/exec` that the API server connects has an AuditSession where the values name it.
"""

from typing import Any

import pytest

from .cluster import Cluster, eventually
from .node.pki import NODE_NAME
from .sessions import Person, api_audit_event, auditsessions, closed, enter_by_nodes_proxy, programs


@pytest.mark.parametrize(("websocket", "verb"), [("true", "get"), ("false", "create")], ids=["WebSocket", "SPDY"])
def test_an_exec_is_tagged_whatever_carries_it(alice: Person, recorded: str, websocket: str, verb: str) -> None:
    alice.cluster.env = {**alice.cluster.env, "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": websocket}

    uid, records = alice.executes(recorded, "id")

    assert api_audit_event(alice.admin, uid)["verb"] == verb
    assert programs(records) == ["env", "id"]
    assert {(record.user, record.state) for record in records} == {("alice", "confirmed")}


@pytest.mark.values(
    "webhook.consoles[0].apiGroups[0]=",
    "webhook.consoles[0].apiVersions[0]=v1",
    "webhook.consoles[0].resources[0]=nodes/proxy",
)
def test_a_command_by_nodes_proxy_has_an_auditsession_where_the_values_name_it(admin: Cluster, recorded: str) -> None:
    before = {each["metadata"]["name"] for each in auditsessions()}

    enter_by_nodes_proxy(admin, recorded, "true")

    def of_console() -> list[dict[str, Any]]:
        fresh = [each for each in auditsessions() if each["metadata"]["name"] not in before]
        return [each for each in fresh if each["spec"]["verb"] == "console"]

    (session,) = eventually(of_console)
    assert (session["spec"]["user"]["username"], session["spec"]["resource"]) == ("admin", "nodes/proxy")
    assert session["spec"]["target"]["name"] == NODE_NAME
    assert session["spec"]["command"][0].endswith(f"run/{recorded}/web/app")
    assert closed(session["metadata"]["name"])["outcome"] == "not-recorded"
