"""A request is tied to its process without ever changing what the command does."""

import json
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exectrail.session import SessionSpec
from webhook.admission import BadReview, Decision, decode
from webhook.exec_metadata import decide
from webhook.ledger_entry import DEFAULT_EXTRA_KEYS

Load = Callable[..., dict[str, Any]]
Apply = Callable[[dict[str, Any], list[Any]], dict[str, Any]]

NOW = "2026-11-23T12:00:00.000001Z"
RECORD = {"exectrail.io/record": "true"}
PROFILE = {"exectrail.io/profile": "process-audit"}
TAG = "SPO_EXEC_REQUEST_UID"


def decided(review: dict[str, Any], labels: dict[str, str] | None = RECORD) -> Decision:
    return decide(decode(json.dumps(review).encode()), labels, NOW, frozenset(DEFAULT_EXTRA_KEYS))


def session_of(review: dict[str, Any], labels: dict[str, str] | None = RECORD) -> SessionSpec:
    session = decided(review, labels).session
    assert session is not None
    return session


@pytest.mark.parametrize("labels", [RECORD, PROFILE], ids=["record", "profile"])
@pytest.mark.parametrize("name", ["exec-sh", "exec-env", "exec-tar"])
def test_an_exec_in_an_opted_in_namespace_runs_under_env_with_its_uid(
    review: Load, patched: Apply, name: str, labels: dict[str, str]
) -> None:
    asked = review(name)
    uid, command = asked["request"]["uid"], asked["request"]["object"]["command"]

    decision = decided(asked, labels)

    assert decision.reason == "tagged"
    assert len(decision.patch) == 1
    expected = asked["request"]["object"] | {"command": ["env", f"{TAG}={uid}", *command]}
    assert patched(asked, decision.patch) == expected


def test_the_users_own_tag_in_the_command_does_not_suppress_ours(review: Load, patched: Apply) -> None:
    command = ["sh", "-c", "id", f"{TAG}=00000000-0000-0000-0000-000000000000"]
    asked = review("exec-sh", {"command": command})

    assert patched(asked, decided(asked).patch)["command"] == ["env", f"{TAG}={asked['request']['uid']}", *command]


@pytest.mark.parametrize(
    ("command", "reason", "warned"),
    [
        (None, "empty-command", False),
        ([], "empty-command", False),
        ([""], "empty-command", False),
        (["a=b", "c"], "assignment-command", True),
        (["cat", "caf\ufffd"], "not-utf8", True),
    ],
)
def test_a_command_that_env_would_change_stays_as_it_is(
    review: Load, command: list[str] | None, reason: str, warned: bool
) -> None:
    decision = decided(review("exec-sh", {"command": command}))

    assert decision.reason == reason
    assert decision.patch == []
    assert bool(decision.warnings) == warned
    assert decision.session is not None
    assert decision.session.tag == "none"
    assert decision.session.recorded
    assert decision.session.command == (command or [])


@pytest.mark.parametrize(
    ("labels", "reason", "warned"),
    [
        ({}, "not-opted-in", False),
        ({"exectrail.io/record": "false"}, "not-opted-in", False),
        ({"exectrail.io/profile": ""}, "not-opted-in", False),
        (None, "namespace-unknown", True),
    ],
)
@pytest.mark.parametrize("name", ["exec-sh", "ephemeralcontainers"])
def test_outside_opted_in_namespaces_nothing_changes_and_the_ledger_knows(
    review: Load, name: str, labels: dict[str, str] | None, reason: str, warned: bool
) -> None:
    decision = decided(review(name), labels)

    assert decision.reason == reason
    assert decision.patch == []
    assert bool(decision.warnings) == warned
    assert decision.session is not None
    assert (decision.session.tag, decision.session.recorded) == ("none", False)


def test_the_ledger_keeps_who_asked_for_what_where_and_when(review: Load) -> None:
    session = session_of(review("exec-sh"))

    assert msgspec.to_builtins(session) == {
        "user": {
            "username": "alice@example.com",
            "groups": ["developers", "system:authenticated"],
            "extra": {"authentication.kubernetes.io/credential-id": ["X509SHA256=" + "0" * 64]},
        },
        "verb": "exec",
        "resource": "pods/exec",
        "target": {"namespace": "default", "pod": "web", "container": "c"},
        "time": NOW,
        "command": ["sh", "-c", "ps | head -3"],
        "stdin": True,
        "tag": "env",
        "recorded": True,
    }


@pytest.mark.parametrize(
    ("name", "verb", "resource", "container"),
    [
        ("attach", "attach", "pods/attach", "c"),
        ("portforward", "portforward", "pods/portforward", ""),
    ],
)
def test_attach_and_port_forward_go_to_the_ledger_only(
    review: Load, name: str, verb: str, resource: str, container: str
) -> None:
    decision = decided(review(name))

    assert (decision.reason, decision.patch, decision.warnings) == ("ledger-only", [], [])
    session = decision.session
    assert session is not None
    assert (session.verb, session.resource, session.target.container) == (verb, resource, container)
    assert (session.tag, session.recorded) == ("none", False)


def test_a_new_ephemeral_container_gets_the_variable_and_those_before_it_do_not(review: Load, patched: Apply) -> None:
    asked = review("ephemeralcontainers")
    expected = json.loads(json.dumps(asked["request"]["object"]))
    expected["spec"]["ephemeralContainers"][1]["env"] = [{"name": TAG, "value": asked["request"]["uid"]}]

    decision = decided(asked)

    assert decision.reason == "tagged"
    assert patched(asked, decision.patch) == expected


def test_a_debug_session_tells_the_container_and_its_command(review: Load) -> None:
    asked = review("ephemeralcontainers")
    container = asked["request"]["object"]["spec"]["ephemeralContainers"][1]
    container |= {"command": ["sh"], "args": ["-c", "id"], "stdin": True, "tty": True}

    session = session_of(asked)

    assert (session.verb, session.resource) == ("debug", "pods/ephemeralcontainers")
    assert session.target.container == "dbg2"
    assert session.command == ["sh", "-c", "id"]
    assert (session.tty, session.stdin, session.tag, session.recorded) == (True, True, "env", True)


def test_a_variable_of_that_name_in_an_ephemeral_container_is_replaced(review: Load, patched: Apply) -> None:
    asked = review("ephemeralcontainers")
    field = {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    forged = {"name": TAG, "value": "forged"}
    asked["request"]["object"]["spec"]["ephemeralContainers"][1]["env"] = [forged, field, forged]

    env = patched(asked, decided(asked).patch)["spec"]["ephemeralContainers"][1]["env"]

    assert env == [field, {"name": TAG, "value": asked["request"]["uid"]}]


def test_an_update_that_brings_no_ephemeral_container_is_no_session(review: Load) -> None:
    asked = review("ephemeralcontainers")
    asked["request"]["oldObject"] = asked["request"]["object"]

    assert decided(asked) == Decision("no-new-container")


def test_every_ephemeral_container_is_new_where_there_is_no_old_pod(review: Load) -> None:
    paths = [operation.path for operation in decided(review("ephemeralcontainers", oldObject=None)).patch]

    assert paths == ["/spec/ephemeralContainers/0/env", "/spec/ephemeralContainers/1/env"]


def test_other_resources_are_left_alone(review: Load) -> None:
    assert decided(review("pod-create")) == Decision("unsupported")


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("exec-sh", {"command": ["ls", 7]}, "Expected `str`, got `int` - at `$.request.object.command[1]`"),
        ("exec-sh", {"tty": "yes"}, "Expected `bool`, got `str` - at `$.request.object.tty`"),
        (
            "ephemeralcontainers",
            {"spec": {"ephemeralContainers": [{"image": "x"}]}},
            "Object missing required field `name` - at `$.request.object.spec.ephemeralContainers[0]`",
        ),
    ],
)
def test_an_object_of_another_kind_is_refused_with_the_fields_path(
    review: Load, name: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadReview) as refused:
        decided(review(name, changes))

    assert str(refused.value) == message


def test_an_exec_without_an_object_is_refused_with_the_fields_path(review: Load) -> None:
    asked = review("exec-sh")
    asked["request"]["object"] = None

    with pytest.raises(BadReview, match=r"Expected `object`, got `null` - at `\$\.request\.object`"):
        decided(asked)


@given(command=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=6))
def test_whatever_the_command_it_stays_whole_behind_the_tag(review: Load, patched: Apply, command: list[str]) -> None:
    asked = review("exec-sh", {"command": command})

    decision = decided(asked)

    after = patched(asked, decision.patch)["command"]
    tag = ["env", f"{TAG}={asked['request']['uid']}"] if decision.reason == "tagged" else []
    assert after == tag + command
    assert session_of(asked).command == command


@pytest.mark.parametrize("command", [["-u"], ["--help"], ["-"], ["--", "id"], ["echo", "a=b", "-i"]])
def test_env_runs_a_tagged_command_as_it_would_run_alone(review: Load, patched: Apply, command: list[str]) -> None:
    """Options stop at env's first operand, which is the tag: a first word with a dash is still a command."""
    asked = review("exec-sh", {"command": command})
    tagged = patched(asked, decided(asked).patch)["command"]

    result = subprocess.run(tagged, capture_output=True, text=True, check=False)

    found = shutil.which(command[0])
    assert (result.returncode == 0) == bool(found)
    assert result.stdout == ("a=b -i\n" if found else "")


_VARIABLES = st.lists(st.fixed_dictionaries({"name": st.sampled_from([TAG, "A", "B"]), "value": st.text(max_size=3)}))
_CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from("abcd")}, optional={"env": _VARIABLES, "args": st.lists(st.text(max_size=3))}
    ),
    max_size=4,
    unique_by=lambda container: str(container["name"]),
)


@given(containers=_CONTAINERS, old=_CONTAINERS)
def test_whatever_the_pod_just_its_new_ephemeral_containers_end_with_one_tag(
    review: Load, patched: Apply, containers: list[dict[str, Any]], old: list[dict[str, Any]]
) -> None:
    asked = review("ephemeralcontainers")
    asked["request"]["object"]["spec"]["ephemeralContainers"] = containers
    asked["request"]["oldObject"]["spec"]["ephemeralContainers"] = old
    tag = {"name": TAG, "value": asked["request"]["uid"]}
    known = {container["name"] for container in old}

    after = patched(asked, decided(asked).patch)["spec"]["ephemeralContainers"]

    assert after == [
        container
        if container["name"] in known
        else {**container, "env": [*(each for each in container.get("env", []) if each["name"] != TAG), tag]}
        for container in containers
    ]
