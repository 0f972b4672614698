"""Of a request that is over, an enricher keeps that it was there; of any other, all of it."""

import gc
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from enricher.config import Requests
from enricher.containers.containers import Container
from enricher.correlate.attaches import Attached
from enricher.correlate.request_expiry import EXPIRED, is_over
from enricher.correlate.request_index import RequestIndex
from enricher.correlate.sessions import Session, Sessions
from enricher.events import Process
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.node_label import selector
from exectrail.contracts.record import Resource
from exectrail.contracts.session import AuditSession, SessionSpec, SessionStatus, Target, User
from exectrail.k8s.client import Client
from tests.unit.exectrail.api_server import ApiServer

HERE, ELSEWHERE = "node1", "node2"
LATE = Process(7, 70)
APP = Container("c" * 64, Resource("shop", "web", "app"), "shop:1", "pod-1", None, logged=True)
DEBUGGER = replace(APP, ephemeral=True, command=("sh", "-c", "id"))
SECOND, DAY = 1, 86_400
NOW = datetime.now(UTC)
NOW_MS = round(NOW.timestamp() * 1000)


def ask(
    verb: Any = "exec",
    phase: Any = "Closed",
    outcome: Any = None,
    node: str | None = None,
    age: float = 3600,
    *,
    uid: str = "one",
    recorded: bool = True,
) -> AuditSession:
    """A request for a process in `APP`, made so many seconds ago."""
    time = (NOW - timedelta(seconds=age)).isoformat()
    spec = SessionSpec(
        User("alice", groups=["dev", "system:authenticated"]),
        verb,
        "pods/exec",
        Target("shop", "web", "app"),
        time,
        ["sh", "-c", "id"],
        tag="match",
        recorded=recorded,
    )
    return AuditSession(ObjectMeta(name=uid, namespace="exectrail"), spec, SessionStatus(phase, outcome, node=node))


@pytest.mark.parametrize(
    ("audit", "over"),
    [
        pytest.param(ask(phase="Open"), False, id="its process may still come"),
        pytest.param(ask(phase="Open", age=30 * DAY), False, id="nobody has closed it, however old it is"),
        pytest.param(ask(phase="Running", node=ELSEWHERE), False, id="it runs, on whichever node"),
        pytest.param(ask("attach", age=SECOND), False, id="an attach is reported"),
        pytest.param(ask("attach", age=2 * 3600), True, id="an attach is reported within an hour"),
        pytest.param(
            ask("attach", "Open", age=SECOND, recorded=False), False, id="of an attach the webhook does not say"
        ),
        pytest.param(ask("portforward", "Open", age=SECOND), True, id="a port-forward starts no process"),
        pytest.param(ask("break-glass", "Open", age=SECOND, recorded=False), True, id="breaking the glass starts none"),
        pytest.param(ask(outcome="completed", node=HERE), True, id="its process has ended"),
        pytest.param(ask("debug", outcome="completed", node=HERE), True, id="its container has ended"),
        pytest.param(ask(outcome="lost", node=HERE), True, id="its end was not seen"),
        pytest.param(ask(outcome="ambiguous", node=HERE), False, id="the next process may be its as well"),
        pytest.param(ask(outcome="completed", node=ELSEWHERE, age=SECOND), True, id="it was another node's"),
        pytest.param(ask("debug", outcome="never-started", node=ELSEWHERE), True, id="another node pulls its image"),
        pytest.param(ask("debug", outcome="never-started", node=HERE), False, id="its image is being pulled"),
        pytest.param(ask("debug", outcome="not-recorded"), False, id="its image is being pulled, for nobody knows"),
        pytest.param(
            ask("debug", outcome="not-recorded", recorded=False, age=DAY),
            False,
            id="its namespace may opt in before its image is there",
        ),
        pytest.param(ask(outcome="never-started", node=HERE), False, id="it may have come while no enricher ran"),
        pytest.param(ask(outcome="not-recorded"), False, id="it may have come while no enricher ran, for all we know"),
        pytest.param(ask(outcome="not-recorded", age=2 * DAY), True, id="no enricher is away so long"),
        pytest.param(ask(outcome="not-recorded", recorded=False), True, id="nothing was to be recorded"),
        pytest.param(
            ask(outcome="not-recorded", recorded=False, age=60),
            False,
            id="its namespace may have opted in before its process came",
        ),
        pytest.param(EXPIRED, True, id="what stands in for it stays"),
    ],
)
def test_a_request_is_over_when_no_process_of_this_node_can_come_of_it(audit: AuditSession, over: bool) -> None:
    assert is_over(audit, HERE, NOW_MS) == over


class Node:
    """What a node knows of requests, as of its last look at the API."""

    def __init__(self, api: ApiServer) -> None:
        self.asked = RequestIndex()
        self.requests = Requests(Client(api.url), "exectrail", self.asked.changed, HERE)
        self.sessions = Sessions(self.requests.get, self.asked)

    def look(self) -> None:
        self.requests._list()

    def comes(self, uid: str = "one", container: Container | None = APP) -> Session:
        """A process with this tag."""
        session = self.sessions.bind(LATE, uid, 0)
        session.container = container
        self.sessions.settle(session)
        return session


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def node(api: ApiServer) -> Node:
    return Node(api)


def put(api: ApiServer, *requests: AuditSession) -> None:
    for each in requests:
        api.put(msgspec.to_builtins(each))


@pytest.mark.parametrize(
    ("audit", "state", "user"),
    [
        pytest.param(ask(phase="Open"), "confirmed", "alice", id="an open one is its user's"),
        pytest.param(ask(outcome="completed", node=HERE), "forged", None, id="one that is completed is forged"),
        pytest.param(ask(outcome="completed", node=ELSEWHERE), "forged", None, id="another node's is forged"),
        pytest.param(ask("debug", outcome="completed", node=HERE), "forged", None, id="an ended container's is forged"),
        pytest.param(ask("attach", "Open", age=SECOND), "forged", None, id="an attach's is forged"),
        pytest.param(
            ask("debug", outcome="never-started", node=HERE),
            "confirmed",
            "alice",
            id="a late image's is its user's",
        ),
        pytest.param(None, "unconfirmed", None, id="one that nobody knows is unconfirmed"),
    ],
)
def test_who_comes_with_the_uid_of_a_request_is(
    api: ApiServer, node: Node, audit: AuditSession | None, state: str, user: str | None
) -> None:
    put(api, *([audit] if audit else []))
    node.look()

    session = node.comes()

    assert (session.state, session.user) == (state, user)


def test_who_comes_with_the_uid_of_one_that_is_over_is_forged_also_where_the_container_is_not_known(
    api: ApiServer, node: Node
) -> None:
    put(api, ask(outcome="completed", node=HERE))
    node.look()

    session = node.comes(container=None)

    assert (session.state, session.user) == ("forged", None)
    assert node.sessions.settle(session), "there is nothing to wait for"


def test_a_debug_request_that_was_closed_as_never_started_is_found_when_its_container_starts(
    api: ApiServer, node: Node
) -> None:
    put(api, ask("debug", "Open"))
    node.look()
    put(api, ask("debug", outcome="never-started", node=HERE))
    node.look()

    assert node.sessions.makers(DEBUGGER) == ["one"]
    assert node.comes().user == "alice"


def test_a_request_that_shows_only_once_it_is_closed_is_still_its_users(api: ApiServer, node: Node) -> None:
    session = node.comes()
    assert session.state == "unconfirmed"
    put(api, ask(outcome="completed", node=HERE))
    node.look()

    assert node.sessions.settle(session)
    assert (session.state, session.user) == ("confirmed", "alice")

    node.look()
    assert node.requests.get("one") is EXPIRED, "and then it is over"


def test_one_that_is_over_is_no_candidate_any_more_and_can_be_deleted(api: ApiServer, node: Node) -> None:
    put(api, ask(phase="Open", age=SECOND), ask("debug", "Open", uid="two"))
    node.look()
    argv = b"sh\0-c\0id\0"
    assert node.sessions.match(APP, argv, NOW_MS, tagged=False) == ["one"]

    put(api, ask(outcome="completed", node=ELSEWHERE, age=SECOND))
    put(api, ask("debug", outcome="completed", node=HERE, uid="two"))
    node.look()
    assert node.sessions.match(APP, argv, NOW_MS, tagged=False) == []
    assert node.sessions.makers(DEBUGGER) == []
    assert node.asked._by_pod == {}
    assert node.requests.running_on(HERE) == []

    api.delete("one")
    node.look()
    assert node.requests.get("one") is None


def test_an_attach_that_is_closed_before_it_shows_is_still_reported(api: ApiServer) -> None:
    attached = Attached((NOW - timedelta(days=1)).isoformat())
    put(api, ask("attach", outcome="not-recorded", age=600))
    requests = Requests(Client(api.url), "exectrail", attached.changed, HERE)

    requests._list()

    assert [each.init for each in attached.found(lambda: {LATE: APP}, 0.0)] == [LATE]


def test_uids_that_are_asked_for_in_vain_are_remembered_within_a_bound(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("enricher.config._MOST_MISSED", 2)
    for uid in ("one", "two", "one", "three"):
        node.requests.get(uid)

    assert list(node.requests._missed) == ["two", "three"]


def test_an_agent_asks_for_its_nodes_shard_and_what_has_none(api: ApiServer, node: Node) -> None:
    node.look()
    assert [each.query["labelSelector"] for each in api.asked] == [selector(HERE)]


def test_without_a_node_all_is_kept_whole(api: ApiServer) -> None:
    put(api, ask(outcome="completed", node=HERE))
    requests = Requests(Client(api.url), "exectrail")
    requests._list()

    assert "labelSelector" not in api.asked[-1].query
    kept = requests.get("one")
    assert kept
    assert kept.spec.user.username == "alice"


def test_ten_thousand_requests_that_are_over_take_less_than_3_mib(api: ApiServer, node: Node) -> None:
    one = msgspec.to_builtins(ask(outcome="completed", node=HERE))
    for number in range(10_000):
        uid = f"00000000-0000-4000-8000-{number:012x}"
        api.objects[uid] = {**one, "metadata": {"name": uid, "namespace": "exectrail"}}
    tracemalloc.start()
    try:
        node.look()
        gc.collect()
        allocated, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(node.requests.objects) == 10_000
    assert allocated < 3 << 20
