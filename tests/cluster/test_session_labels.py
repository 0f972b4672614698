"""A session has its node's label, which its agent finds it by, and agents need no more than that."""

from typing import Any

import pytest

from exectrail.contracts.node_label import NODE_LABEL, SHARD_LABEL, labels, selector

from .cluster import Cluster, eventually
from .node.pki import NODE_NAME
from .sessions import Person, records_of

HERE = labels(NODE_NAME)


def of_node(session: dict[str, Any]) -> dict[str, str]:
    """A session's labels that say where it is."""
    found = session["metadata"].get("labels", {})
    return {key: found[key] for key in (NODE_LABEL, SHARD_LABEL) if key in found}


@pytest.mark.parametrize("space", ["recorded", "required"])
def test_an_exec_has_its_nodes_labels_and_its_agent_confirms_it(
    alice: Person, request: pytest.FixtureRequest, space: str
) -> None:
    name = request.getfixturevalue(space)

    def labelled() -> dict[str, Any]:
        _, session = alice.does("exec", "-n", name, "web", "-c", "app", "--", "true")
        assert of_node(session) == HERE  # the pod is older than 5 s by now
        return session

    uid, _ = alice.trail_of(eventually(labelled))

    assert {record.state for record in records_of(uid) if record.kind == "exec"} == {"confirmed"}


def test_the_api_server_finds_them_by_label_and_by_an_agents_selector(
    alice: Person, admin: Cluster, recorded: str
) -> None:
    _, session = alice.does("exec", "-n", recorded, "web", "-c", "app", "--", "true")
    uid = session["metadata"]["name"]

    for chosen in (f"{NODE_LABEL}={NODE_NAME}", selector(NODE_NAME)):
        listed = admin.get("auditsessions", "-n", "exectrail", "-l", chosen)["items"]
        assert uid in {each["metadata"]["name"] for each in listed}
    elsewhere = next(f"n{number}" for number in range(10) if labels(f"n{number}")[SHARD_LABEL] != HERE[SHARD_LABEL])
    listed = admin.get("auditsessions", "-n", "exectrail", "-l", selector(elsewhere))["items"]
    assert uid not in {each["metadata"]["name"] for each in listed}
