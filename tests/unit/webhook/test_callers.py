"""Who has to go: of the address that holds most, one that never had an answer, the one that waits longest."""

from collections.abc import Callable

import pytest

from webhook.serving.callers import Callers, Connection, Limits, Stage, address_of


class House:
    """Callers whose connections are made and ended by name, at a time that is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **limits: float) -> None:
        self.now = 0.0
        monkeypatch.setattr("webhook.serving.callers.time.monotonic", lambda: self.now)
        self.ended: list[tuple[str, str]] = []
        self.names: dict[Connection, str] = {}
        self.callers = Callers(Limits(**limits), lambda each, why: self.ended.append((self.names[each], why)))  # type: ignore[arg-type] # by name

    def come(self, name: str, address: str, stage: Stage = Stage.IDLE, *, answered: bool = False) -> Connection:
        self.now += 1
        connection = Connection(address, lambda: None)
        self.names[connection] = name
        connection.enter(stage)
        connection.answered = answered
        self.callers.add(connection)
        return connection


Open = Callable[..., House]


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> Open:
    return lambda **limits: House(monkeypatch, **limits)


def test_a_full_house_ends_a_connection_of_the_address_that_holds_most(house: Open) -> None:
    full = house(connections=4)
    for name, address in [("a1", "a"), ("b1", "b"), ("b2", "b"), ("b3", "b"), ("c1", "c")]:
        full.come(name, address)

    assert full.ended == [("b1", "connections")]
    assert len(full.callers) == 4


def test_one_address_has_a_bound_of_its_own(house: Open) -> None:
    full = house(address_connections=2)
    for name, address in [("a1", "a"), ("b1", "b"), ("a2", "a"), ("a3", "a")]:
        full.come(name, address)

    assert full.ended == [("a1", "address-connections")]


def test_those_go_first_that_never_had_an_answer_and_last_those_whose_request_is_complete(house: Open) -> None:
    full = house(address_connections=4)
    full.come("deciding", "a", Stage.DECISION)
    full.come("answered", "a", answered=True)
    full.come("older", "a", Stage.HEADERS)
    full.come("younger", "a", Stage.HANDSHAKE)
    for number in range(4):
        full.come(f"new{number}", "a", answered=True)

    assert [name for name, _ in full.ended] == ["older", "younger", "answered", "new0"]


def test_the_newest_gets_in_where_all_others_had_answers(house: Open) -> None:
    full = house(address_connections=1)
    full.come("kept", "a", answered=True)
    full.come("new", "a")

    assert full.ended == [("kept", "address-connections")]


def test_where_files_run_out_only_those_go_that_never_had_an_answer(house: Open) -> None:
    full = house()
    for name, address in [("a1", "a"), ("b1", "b"), ("b2", "b")]:
        full.come(name, address)
    full.come("answered", "b", answered=True)
    full.come("deciding", "b", Stage.DECISION)
    while full.callers.make_room():
        pass

    assert full.ended == [("b1", "files"), ("a1", "files"), ("b2", "files")]


def test_handshakes_in_progress_are_bounded(house: Open) -> None:
    full = house(handshakes=2)
    for name, address in [("a1", "a"), ("a2", "a"), ("b1", "b")]:
        full.callers.begin(full.come(name, address, Stage.ARRIVED))

    assert full.ended == [("a1", "handshakes")]


def test_bodies_are_bounded_together_and_the_address_with_most_gives_way(house: Open) -> None:
    full = house(body_bytes=100)
    small, first, second = full.come("small", "a"), full.come("first", "b"), full.come("second", "b")
    full.callers.hold(small, 30)
    full.callers.hold(first, 40)
    full.callers.hold(second, 40)

    assert full.ended == [("first", "body-bytes")]
    assert full.callers.held == 70
    full.callers.remove(small)
    assert full.callers.held == 40


def test_one_alone_that_holds_too_much_goes_itself(house: Open) -> None:
    full = house(body_bytes=100)
    full.callers.hold(full.come("greedy", "a"), 101)

    assert full.ended == [("greedy", "body-bytes")]
    assert full.callers.held == 0


@pytest.mark.parametrize(
    ("stage", "limit", "reason"),
    [
        (Stage.ARRIVED, "handshake_seconds", "arrival-timeout"),
        (Stage.HANDSHAKE, "handshake_seconds", "handshake-timeout"),
        (Stage.IDLE, "idle_seconds", "idle-timeout"),
        (Stage.HEADERS, "header_seconds", "header-timeout"),
        (Stage.BODY, "body_seconds", "body-timeout"),
        (Stage.DECISION, "answer_seconds", "answer-timeout"),
        (Stage.UNREAD, "answer_seconds", "unread-timeout"),
    ],
)
def test_each_stage_has_its_time(house: Open, stage: Stage, limit: str, reason: str) -> None:
    full = house(**{limit: 7.0})
    slow = full.come("slow", "a", stage)
    slow.unsent = lambda: 1
    full.now += 7
    full.callers.end_overdue()
    assert full.ended == []

    full.now += 0.1
    full.callers.end_overdue()
    assert full.ended == [("slow", reason)]


def test_an_answer_that_is_taken_at_last_leaves_an_idle_connection(house: Open) -> None:
    full = house()
    connection = full.come("slow", "a", Stage.UNREAD)
    full.callers.hold(connection, 5)
    full.callers.end_overdue()

    assert (connection.stage, full.callers.held) == (Stage.IDLE, 0)


def test_what_has_ended_is_ended_once_and_holds_nothing(house: Open) -> None:
    full = house()
    connection = full.come("gone", "a")
    full.callers.end(connection, "first")
    full.callers.end(connection, "second")
    full.callers.hold(connection, 10)

    assert full.ended == [("gone", "first")]
    assert (len(full.callers), full.callers.held) == (0, 0)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
    ],
)
def test_an_ipv6_caller_counts_by_its_64(host: str, address: str) -> None:
    assert address_of(host) == address
