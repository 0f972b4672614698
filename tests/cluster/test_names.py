"""Which user a process has, where one tries to pass for another: in namespaces of every tag mode."""

from uuid import uuid4

import pytest

from exectrail.contracts.record import Record
from exectrail.contracts.session import TAG_VARIABLE

from .cluster import Cluster, eventually
from .product import Release, looked_into, may_enter, namespace, pod
from .sessions import Person, enter_by_nodes_proxy, records_of, trail

MODES = {
    "auto": {"record": "true"},
    "env": {"record": "true", "tag": "env"},
    "match": {"record": "true", "tag": "match"},
}


@pytest.fixture(scope="module")
def namespaces(release: Release) -> dict[str, str]:
    """A recorded namespace of each tag mode, with a pod `web`."""
    release.with_any_values()
    names, admin = {mode: f"names-{mode}" for mode in MODES}, Cluster()
    admin.kubectl("delete", "namespace", *names.values(), "--ignore-not-found")
    for mode, name in names.items():
        admin.apply(namespace(name, **MODES[mode]), *may_enter(name))
    for name in names.values():
        admin.kubectl("wait", "-n", name, "--for=create", "serviceaccount/default", "--timeout=120s")
    admin.apply(*map(pod, names.values()))
    for name in names.values():
        admin.kubectl("wait", "-n", name, "pod/web", "--for=condition=Ready", "--timeout=60s")
    looked_into(f"{names['auto']}/web/app")
    return names


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """A tag mode."""
    return str(request.param)


def unbound(admin: Cluster, space: str) -> str:
    """The UID of a request of the admin's, whose program does not exist."""
    _, session = Person(admin, admin).does("exec", "-n", space, "web", "--", "no-such-program", check=False)
    return str(session["metadata"]["name"])


def ran(word: str) -> list[Record]:
    """The execs that have this word for an argument, once they are in the trail."""

    def found() -> list[Record]:
        return [record for record in trail() if record.kind == "exec" and word in (record.argv or ())]

    eventually(found)
    return found()


def test_no_user_gets_another_users_name_by_their_uid(
    admin: Cluster, alice: Person, namespaces: dict[str, str], mode: str
) -> None:
    space, word = namespaces[mode], f"borrowed-{uuid4()}"
    uid = unbound(admin, space)

    _, own = alice.does(
        "exec", "-n", space, "web", "--", "env", f"{TAG_VARIABLE}={uid}", "sh", "-c", 'id; true "$0"', word
    )

    mine = str(own["metadata"]["name"])
    assert {(each.user, each.request_uid, each.state) for each in ran(word)} == {("alice", mine, "confirmed")}
    alice.trail_of(own)
    assert word not in str([each.argv for each in records_of(uid)])


def test_no_user_loses_their_own_name_by_a_uid_that_they_make_up(
    alice: Person, namespaces: dict[str, str], mode: str
) -> None:
    space, word, invented = namespaces[mode], f"shed-{uuid4()}", str(uuid4())

    done, own = alice.does(
        "exec", "-n", space, "web", "--", "env", f"{TAG_VARIABLE}={invented}", "sh", "-c", 'true "$0"; exit 3', word,
        check=False,
    )  # fmt: skip

    mine = str(own["metadata"]["name"])
    assert done.returncode == 3
    assert {(each.user, each.request_uid, each.state) for each in ran(word)} == {("alice", mine, "confirmed")}
    _, records = alice.trail_of(own)
    assert records[-1].exit
    assert records[-1].exit.code == 3


def test_an_entry_past_the_api_server_with_anothers_uid_has_no_name(
    admin: Cluster, namespaces: dict[str, str], mode: str
) -> None:
    space, word = namespaces[mode], f"proxied-{uuid4()}"
    uid = unbound(admin, space)

    enter_by_nodes_proxy(admin, space, "env", f"{TAG_VARIABLE}={uid}", "basename", word)

    assert {(each.user, each.state) for each in ran(word)} == {(None, "forged")}


def test_a_forged_uid_is_reported_with_what_was_asked_for(admin: Cluster, namespaces: dict[str, str]) -> None:
    space = namespaces["match"]
    uid = unbound(admin, space)

    enter_by_nodes_proxy(admin, space, "env", f"{TAG_VARIABLE}={uid}", "true")

    start = eventually(lambda: [each for each in records_of(uid) if each.phase == "start"])
    assert [(each.state, each.reason, each.user) for each in start] == [("forged", "not-tagged", None)]
    assert start[0].request
    assert start[0].request.command == ["no-such-program"]


def test_a_command_that_begins_with_a_tag_is_its_own_requests_also_in_mode_match(
    admin: Cluster, alice: Person, namespaces: dict[str, str]
) -> None:
    space, word = namespaces["match"], f"prefixed-{uuid4()}"
    uid = unbound(admin, space)

    _, own = alice.does("exec", "-n", space, "web", "--", "env", f"{TAG_VARIABLE}={uid}", "basename", word)

    mine = str(own["metadata"]["name"])
    assert own["spec"]["tag"] == "env"
    assert {(each.user, each.request_uid, each.weak) for each in ran(word)} == {("alice", mine, None)}
    assert records_of(uid) == []
