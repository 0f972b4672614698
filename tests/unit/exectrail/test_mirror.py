"""A mirror shows what the server has, and what it last had while the server is away."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from msgspec import Struct

from exectrail.contracts.meta import ObjectMeta
from exectrail.k8s import mirror as mirror_module
from exectrail.k8s.client import Client
from exectrail.k8s.mirror import Mirror
from exectrail.service.backoff import Backoff
from tests.unit.exectrail.api_server import ApiServer
from tests.unit.waiting import until

NAMESPACES = "/api/v1/namespaces"


class Namespace(Struct, frozen=True):
    metadata: ObjectMeta


Change = tuple[str | None, str | None]
Keep = Callable[[Namespace], Namespace] | None


def _label(namespace: Namespace | None) -> str | None:
    return namespace.metadata.labels["v"] if namespace else None


class Watched:
    """A running mirror and the changes that it reported, as label `v` before and after."""

    def __init__(
        self,
        api: ApiServer,
        fail: Callable[[], None] = lambda: None,
        keep: Keep = None,
        *,
        older: Sequence[str] = (),
        optional: bool = False,
    ) -> None:
        self.changes: list[Change] = []
        self._fail = fail
        self._told = threading.Condition()
        self.mirror = Mirror(
            Client(api.url),
            NAMESPACES,
            Namespace,
            self._on_change,
            keep,
            older=older,
            optional=optional,
            labelSelector="v",
        )
        self.thread = threading.Thread(target=self.mirror.run)
        self.thread.start()

    def _on_change(self, old: Namespace | None, new: Namespace | None) -> None:
        with self._told:
            self.changes.append((_label(old), _label(new)))
            self._told.notify_all()
        self._fail()

    def wait_for(self, *changes: Change) -> None:
        with self._told:
            assert self._told.wait_for(lambda: set(changes) <= set(self.changes), timeout=10), self.changes

    def labels(self) -> dict[str, str]:
        return {key: namespace.metadata.labels["v"] for key, namespace in self.mirror.objects.items()}


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_module, "_BACKOFF_FIRST", 0.01)
    monkeypatch.setattr(mirror_module, "_MISSING_SECONDS", 0.01)


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def start(api: ApiServer) -> Iterator[Callable[..., Watched]]:
    """Starts mirrors, and ends them with the test."""
    running: list[Watched] = []

    def mirror(**arguments: Any) -> Watched:
        running.append(Watched(api, **arguments))
        return running[-1]

    yield mirror
    for watched in running:
        watched.mirror.stop()
        while watched.thread.is_alive():  # it may just be between two watches
            api.end_watches()
            watched.thread.join(0.01)


Start = Callable[..., Watched]


def test_it_has_what_was_there_before_and_what_comes_changes_and_goes(api: ApiServer, start: Start) -> None:
    api.set("a", v="1")
    api.set("b", v="1")
    watched = start()
    assert watched.mirror.synced.wait(10)
    assert watched.labels() == {"a": "1", "b": "1"}

    api.set("a", v="2")
    api.set("c", namespace="default", v="3")
    api.delete("b")

    watched.wait_for((None, "1"), ("1", "2"), (None, "3"), ("1", None))
    assert watched.labels() == {"a": "2", "default/c": "3"}
    assert watched.mirror.failures == 0
    assert {asked.query["labelSelector"] for asked in api.asked} == {"v"}


def test_it_is_not_synced_before_the_first_list(api: ApiServer, start: Start) -> None:
    api.stop()
    watched = start()
    assert not watched.mirror.synced.wait(0.05)

    api.start()
    assert watched.mirror.synced.wait(10)
    assert watched.mirror.failures > 0


def test_a_collection_that_may_be_missing_is_empty_until_it_comes_and_after_it_goes(
    api: ApiServer, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "exectrail.k8s.mirror")
    api.absent.add(NAMESPACES)
    watched = start(optional=True)
    assert watched.mirror.synced.wait(10)
    until(lambda: len(api.asked) > 2)
    assert watched.labels() == {}
    assert [record.levelname for record in caplog.records] == ["INFO"]  # however often it is asked for

    api.set("a", v="1")
    api.absent.clear()
    watched.wait_for((None, "1"))
    api.wait_until_watched()
    api.absent.add(NAMESPACES)
    api.end_watches()

    watched.wait_for(("1", None))
    assert watched.labels() == {}


def test_where_a_version_is_not_served_an_older_one_is_watched_until_it_is(api: ApiServer, start: Start) -> None:
    older = ["/apis/group/v1beta1/things", "/apis/group/v1alpha1/things"]
    api.absent |= {NAMESPACES, older[0]}
    api.set("a", v="1")
    watched = start(older=older, optional=True)
    watched.wait_for((None, "1"))
    api.wait_until_watched()
    api.set("a", v="2")
    watched.wait_for(("1", "2"))
    assert {asked.path for asked in api.asked if "watch" in asked.query} == {older[1]}

    api.absent = {*older}
    api.compact()
    api.end_watches()

    until(lambda: any(asked.path == NAMESPACES and "watch" in asked.query for asked in api.asked))
    assert watched.labels() == {"a": "2"}


def test_a_watch_that_ends_goes_on_where_it_was_without_a_new_list(api: ApiServer, start: Start) -> None:
    api.set("a", v="1")
    watched = start()
    api.wait_until_watched()
    api.set("a", v="2")
    watched.wait_for(("1", "2"))
    api.end_watches()
    api.set("a", v="3")

    watched.wait_for(("2", "3"))
    assert api.counts()["list"] == 1


def test_a_bookmark_moves_the_version_on(api: ApiServer, start: Start) -> None:
    watched = start()
    api.wait_until_watched()
    api.set("a", v="1")
    watched.wait_for((None, "1"))
    api.bookmark()
    api.set("b", v="9")
    watched.wait_for((None, "9"))
    api.compact()
    api.end_watches()
    api.set("a", v="2")

    watched.wait_for(("1", "2"))
    assert api.counts()["list"] == 1


@pytest.mark.parametrize("gone_as_event", [False, True], ids=["HTTP status", "ERROR event"])
def test_after_an_expired_version_it_lists_again_and_reports_what_went_meanwhile(
    api: ApiServer, start: Start, gone_as_event: bool
) -> None:
    api.gone_as_event = gone_as_event
    api.set("a", v="1")
    api.set("b", v="2")
    watched = start()
    api.wait_until_watched()
    api.stop()
    api.delete("a")
    api.set("c", v="3")
    api.compact()
    api.start()

    watched.wait_for(("1", None), (None, "3"))
    assert watched.labels() == {"b": "2", "c": "3"}


def test_while_the_server_is_dead_the_last_state_stays_and_then_it_recovers(api: ApiServer, start: Start) -> None:
    api.set("a", v="1")
    watched = start()
    api.wait_until_watched()
    api.stop()
    api.set("a", v="2")
    assert watched.labels() == {"a": "1"}
    assert watched.mirror.synced.is_set()

    api.start()
    watched.wait_for(("1", "2"))
    assert watched.labels() == {"a": "2"}


def test_in_a_hurry_it_tries_again_at_once_but_not_more_often_than_after_a_first_failure(
    api: ApiServer, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_module, "_BACKOFF_FIRST", 0.1)
    monkeypatch.setattr(Backoff, "next", lambda _: 60.0)
    api.set("a", v="1")
    watched = start()
    api.wait_until_watched()
    api.stop()
    until(lambda: watched.mirror.failures > 0)
    before, failures = time.monotonic(), watched.mirror.failures
    for _ in range(100):
        watched.mirror.hurry()
        time.sleep(0.005)
    assert watched.mirror.failures - failures <= (time.monotonic() - before) / 0.1 + 1

    api.set("a", v="2")
    api.start()
    watched.mirror.hurry()
    watched.wait_for(("1", "2"))


def test_an_unreadable_object_does_not_stop_the_others(api: ApiServer, start: Start) -> None:
    watched = start()
    api.wait_until_watched()
    api.send('{"type": "ADDED", "object": {"metadata": {"name": "x", "resourceVersion": "101", "labels": 7}}}')
    api.set("b", v="2")

    watched.wait_for((None, "2"))
    assert watched.mirror.failures == 0


@pytest.mark.parametrize(
    "line",
    [b'{"type": "ADDED", "object": {"metadata": {"name": "\xff", "resourceVersion": "1\xff"}}}', b"[" * 100_000, b"{}"],
    ids=["not UTF-8", "nested deep", "empty"],
)
def test_no_line_of_a_watch_ends_the_mirror(api: ApiServer, start: Start, line: bytes) -> None:
    watched = start()
    api.wait_until_watched()
    api.send(line)
    api.set("b", v="2")

    watched.wait_for((None, "2"))
    assert watched.mirror.failures == 1


def test_an_unexpected_fault_does_not_end_the_mirror(
    api: ApiServer, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [ZeroDivisionError("a fault")]
    real = Client.watch

    def watch(*args: Any, **selectors: Any) -> Any:
        if faults:
            raise faults.pop()
        return real(*args, **selectors)

    monkeypatch.setattr(Client, "watch", watch)
    watched = start()
    api.wait_until_watched()
    api.set("b", v="2")

    watched.wait_for((None, "2"))
    assert watched.mirror.failures == 1


def test_its_age_is_the_time_since_the_server_last_said_anything(api: ApiServer, start: Start) -> None:
    watched = start()
    api.wait_until_watched()
    before = watched.mirror.age()
    threading.Event().wait(0.1)
    silent = watched.mirror.age()
    api.set("a", v="1")
    watched.wait_for((None, "1"))

    assert silent >= before + 0.1
    assert watched.mirror.age() < silent


def test_a_reader_that_fails_does_not_stop_the_mirror(api: ApiServer, start: Start) -> None:
    failures = [ZeroDivisionError()]

    def fail() -> None:
        if failures:
            raise failures.pop()

    watched = start(fail=fail)
    api.wait_until_watched()
    api.set("a", v="1")
    api.set("b", v="2")

    watched.wait_for((None, "1"), (None, "2"))
    assert watched.labels() == {"a": "1", "b": "2"}


def test_a_server_that_ends_every_watch_at_once_is_not_hammered(
    api: ApiServer, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_module, "_BACKOFF_FIRST", 30.0)
    listed = (200, b'{"metadata": {"resourceVersion": "100"}}')
    api.canned = [listed, (200, b""), (200, b""), (200, b"")]
    watched = start()
    assert watched.mirror.synced.wait(10)
    threading.Event().wait(0.2)

    assert api.counts()["watch"] == 1


def test_a_list_whose_token_expires_between_two_pages_begins_anew(
    api: ApiServer, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exectrail.k8s.client._PAGE", 2)
    for name in "abcde":
        api.set(name, v=name)
    api.tokens_to_expire = 1
    watched = start()

    assert watched.mirror.synced.wait(10)
    assert watched.labels() == {name: name for name in "abcde"}
    assert [asked.query.get("continue") for asked in api.asked][:5] == [None, "105:2", None, "105:2", "105:4"]
    assert watched.mirror.failures == 0


def test_what_went_while_away_goes_only_once_all_pages_are_in(
    api: ApiServer, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exectrail.k8s.client._PAGE", 1)
    for name in "abc":
        api.set(name, v=name)
    watched = start()
    api.wait_until_watched()
    api.stop()
    api.delete("b")
    api.compact()
    api.tokens_to_expire = 1
    api.start()

    watched.wait_for(("b", None))
    assert watched.labels() == {"a": "a", "c": "c"}
    assert [new for _, new in watched.changes].count(None) == 1


STAND_IN = Namespace(ObjectMeta(labels={"v": "stand-in"}))


def _keep_unless_expired(namespace: Namespace) -> Namespace:
    return STAND_IN if namespace.metadata.labels["v"] in ("expired", "stand-in") else namespace


def test_of_what_is_expired_a_stand_in_is_kept_that_still_can_go(api: ApiServer, start: Start) -> None:
    api.set("listed", v="expired")
    api.set("b", v="1")
    watched = start(keep=_keep_unless_expired)
    api.wait_until_watched()
    assert watched.labels() == {"listed": "stand-in", "b": "1"}
    assert watched.mirror.objects["listed"] is STAND_IN

    api.set("b", v="expired")
    watched.wait_for(("1", "stand-in"))
    api.delete("b")
    api.delete("listed")
    api.set("c", v="2")

    watched.wait_for((None, "2"))
    assert watched.labels() == {"c": "2"}


def test_what_time_alone_ends_becomes_a_stand_in_with_a_later_change(
    api: ApiServer, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_module, "_ASK_AGAIN", 0.0)
    expired: set[str] = set()
    api.set("a", v="1")
    watched = start(keep=lambda each: STAND_IN if each.metadata.name in expired else each)
    api.wait_until_watched()
    expired.add("a")
    api.set("b", v="2")

    watched.wait_for(("1", "stand-in"))
    assert watched.labels() == {"a": "stand-in", "b": "2"}


def test_an_object_whose_check_fails_is_kept_whole(api: ApiServer, start: Start) -> None:
    def fail(_: Namespace) -> Namespace:
        raise ZeroDivisionError

    api.set("a", v="1")
    watched = start(keep=fail)

    assert watched.mirror.synced.wait(10)
    assert watched.labels() == {"a": "1"}
