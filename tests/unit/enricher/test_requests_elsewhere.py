"""A UID of a request that another node's agent watches is looked up by name, so that who borrowed it is found out."""

from collections.abc import Iterator

import msgspec
import pytest

from enricher.config import Requests
from enricher.containers.containers import Container
from enricher.correlate import requests_elsewhere
from enricher.correlate.request_expiry import EXPIRED
from enricher.correlate.requests_elsewhere import RequestsElsewhere
from enricher.correlate.sessions import Command, Sessions
from enricher.events import Process
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.record import Resource
from exectrail.contracts.session import AuditSession, SessionSpec, Target, User, Verb
from exectrail.k8s.client import Client
from tests.unit.exectrail.api_server import ApiServer
from tests.unit.waiting import until

PATH = "/apis/exectrail.io/v1alpha1/namespaces/exectrail/auditsessions"
UID = "11111111-2222-4333-8444-555555555555"


class Agent:
    """What an agent knows of requests elsewhere, and a clock that stands."""

    def __init__(self, api: ApiServer) -> None:
        self.api, self.now = api, 1000.0
        self.elsewhere = RequestsElsewhere(Client(api.url), PATH, lambda: self.now)

    def later(self, seconds: float) -> float | None:
        self.now += seconds
        return self.elsewhere.look()


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def agent(api: ApiServer) -> Agent:
    return Agent(api)


def there(api: ApiServer, uid: str = UID, verb: Verb = "exec") -> None:
    spec = SessionSpec(
        User("alice"), verb, f"pods/{verb}", Target("shop", "far", "app"), "2026-11-23T12:00:00Z", ["id"]
    )
    api.created[f"{PATH}/{uid}"] = msgspec.json.encode(AuditSession(ObjectMeta(name=uid), spec))


def test_it_is_asked_for_after_the_watch_had_its_time(agent: Agent) -> None:
    there(agent.api)
    assert agent.elsewhere.look() is None
    assert agent.elsewhere.get(UID) is None

    assert agent.later(0) == 5.0
    assert agent.api.asked == []
    agent.later(5)
    found = agent.elsewhere.get(UID)
    assert found
    assert found.spec.user.username == "alice"
    assert agent.later(1000) is None


def test_what_is_written_late_is_found_late_and_what_is_not_there_is_not_asked_for_again(agent: Agent) -> None:
    agent.elsewhere.get(UID)
    for seconds in (5, 25, 270, 1000, 1000):
        agent.later(seconds)
        agent.elsewhere.get(UID)
    assert len(agent.api.asked) == 3

    other = UID.replace("1", "2")
    agent.elsewhere.get(other)
    agent.later(5)
    there(agent.api, other)
    agent.later(25)
    assert agent.elsewhere.get(other)


def test_what_the_api_server_does_not_say_is_asked_again(agent: Agent) -> None:
    there(agent.api)
    agent.api.canned += [(503, b"{}")] * 5
    agent.elsewhere.get(UID)
    for seconds in (5, 10, 20, 40, 80, 160):
        agent.later(seconds)
    assert agent.elsewhere.get(UID)


@pytest.mark.parametrize("status", [401, 429, 503])
def test_what_the_api_server_never_says_is_asked_ever_more_rarely_and_given_up(agent: Agent, status: int) -> None:
    agent.api.canned += [(status, b"{}")] * 1000
    agent.elsewhere.get(UID)
    asked = []
    for _ in range(24):
        for _ in range(600):
            agent.later(1)
            agent.elsewhere.get(UID)
        asked.append(len(agent.api.asked))

    assert asked[0] <= 7
    assert asked[-1] == 24
    assert agent.later(100_000) is None


def test_one_that_cannot_be_read_does_not_hold_up_the_others(agent: Agent) -> None:
    other = UID.replace("1", "2")
    there(agent.api, other)
    agent.elsewhere.get(UID)
    agent.elsewhere.get(other)
    agent.api.canned += [(503, b"{}")]
    agent.later(5)
    agent.later(0)

    assert agent.elsewhere.get(other)


def test_a_fault_while_one_is_asked_for_does_not_hold_up_the_others(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = UID.replace("1", "2")
    there(agent.api, other)
    agent.elsewhere.get(UID)
    agent.elsewhere.get(other)
    with monkeypatch.context() as broken:
        broken.setattr(Client, "get", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            agent.later(5)
    agent.later(0)

    assert agent.elsewhere.get(other)


@pytest.mark.parametrize("text", ["", "x/status", "?watch=true", "../../../../../../api/v1/pods?watch=true"])
def test_text_that_is_no_name_is_asked_for_nowhere(agent: Agent, text: str) -> None:
    agent.elsewhere.get(text)
    for seconds in (5, 25, 270):
        agent.later(seconds)

    assert agent.api.asked == []
    assert agent.later(10_000) is None


def test_what_the_watch_has_shown_is_not_asked_for(agent: Agent) -> None:
    agent.elsewhere.get(UID)
    agent.elsewhere.forget(UID)
    assert agent.later(10) is None
    assert agent.api.asked == []


def test_what_is_wanted_and_found_is_bounded(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests_elsewhere, "_MOST_WANTED", 2)
    monkeypatch.setattr(requests_elsewhere, "_MOST_FOUND", 1)
    uids = [UID.replace("1", digit) for digit in "2346"]
    for uid in uids:
        there(agent.api, uid)
        agent.elsewhere.get(uid)
    for _ in uids:
        agent.later(5)

    assert [each.path.rpartition("/")[2] for each in agent.api.asked] == uids[2:]
    assert agent.elsewhere.get(uids[3])
    assert agent.elsewhere.get(uids[2]) is None


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests_elsewhere, "_AFTER", (0.01, 0.1, 0.1))
    monkeypatch.setattr(requests_elsewhere, "_PAUSE", 0.01)


@pytest.mark.usefixtures("quick")
def test_a_process_with_another_nodes_uid_is_forged(api: ApiServer) -> None:
    there(api)
    requests = Requests(Client(api.url), "exectrail", None, "n1")
    requests.start()
    sessions = Sessions(requests.get)
    session = sessions.bind(Process(7, 7), UID, 0, "argv", Command(b"id\0"))
    session.container = Container("c1", Resource("shop", "near", "app"), "image", "uid")

    until(lambda: sessions.settle(session))

    assert (session.state, session.rejected, session.user) == ("forged", "other-container", None)
    requests.stop()


@pytest.mark.usefixtures("quick")
def test_of_a_request_that_starts_no_process_elsewhere_none_can_come(api: ApiServer) -> None:
    there(api, verb="portforward")
    requests = Requests(Client(api.url), "exectrail", None, "n1")
    requests.start()

    until(lambda: requests.get(UID) is EXPIRED)
    requests.stop()
