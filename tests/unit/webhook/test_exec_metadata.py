"""A request is tied to its process without ever changing what the command does."""

import json
import shutil
import subprocess
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.correlate.tag import tag_of
from exectrail.contracts.command_hash import command_hash
from exectrail.contracts.session import SessionSpec, Target
from webhook.reviews.exec_metadata import decide
from webhook.reviews.json_value import BadReview
from webhook.reviews.review import Decision, decode
from webhook.reviews.session_spec import DEFAULT_EXTRA_KEYS, Rules
from webhook.reviews.tag_mode import Known

Load = Callable[..., dict[str, Any]]
Apply = Callable[[dict[str, Any], list[Any]], dict[str, Any]]

NOW = "2026-11-23T12:00:00.000001Z"
RECORD = {"exectrail.io/record": "true"}
PROFILE = {"exectrail.io/profile": "process-audit"}
TAG = "SPO_EXEC_REQUEST_UID"
KEY = b"k" * 32
RULES = Rules(frozenset(DEFAULT_EXTRA_KEYS), KEY, "env")


def decided(review: dict[str, Any], labels: dict[str, str] | None = RECORD) -> Decision:
    return decide(decode(json.dumps(review).encode()), Known(labels), RULES, NOW)


def session_of(review: dict[str, Any], labels: dict[str, str] | None = RECORD) -> SessionSpec:
    (session,) = decided(review, labels).sessions.values()
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
    expected = asked["request"]["object"] | {"command": ["env", f"{TAG}={uid}", *command]}
    assert patched(asked, decision.patch) == expected


def test_the_users_own_tag_in_the_command_does_not_suppress_ours(review: Load, patched: Apply) -> None:
    command = ["sh", "-c", "id", f"{TAG}=00000000-0000-0000-0000-000000000000"]
    asked = review("exec-sh", {"command": command})

    assert patched(asked, decided(asked).patch)["command"] == ["env", f"{TAG}={asked['request']['uid']}", *command]


@pytest.mark.parametrize("env", ["env", "/usr/bin/env"])
@pytest.mark.parametrize("labels", [{"exectrail.io/tag": "match"}, {}], ids=["match", "auto"])
def test_a_command_that_begins_with_a_tag_gets_its_own_in_front_whatever_the_mode(
    review: Load, patched: Apply, env: str, labels: dict[str, str]
) -> None:
    """Else, where `match` leaves commands as they are, its process would come with another request's tag."""
    command = [env, f"{TAG}=00000000-0000-0000-0000-000000000000", "id"]
    asked = review("exec-sh", {"command": command})
    own = [env, f"{TAG}={asked['request']['uid']}"]

    decision = decided(asked, RECORD | labels)

    assert patched(asked, decision.patch)["command"] == [*own, *command]
    assert {session.tag for session in decision.sessions.values()} == {"env"}
    assert decided(asked, {}).patch == [], "without opting in, no command is changed"


@pytest.mark.parametrize("command", [["env"], ["env", "A=b", "id"], ["printenv", f"{TAG}=x"], ["sh", f"{TAG}=x"]])
def test_any_other_command_stays_as_it_is_in_mode_match(review: Load, command: list[str]) -> None:
    assert decided(review("exec-sh", {"command": command}), RECORD | {"exectrail.io/tag": "match"}).patch == []


@pytest.mark.parametrize(
    ("command", "reason", "tag", "warned"),
    [
        (None, "empty-command", "none", False),
        ([], "empty-command", "none", False),
        ([""], "empty-command", "none", False),
        (["a=b", "c"], "assignment-command", "match", True),
        (["cat", "caf\ufffd"], "not-utf8", "match", True),
    ],
)
@pytest.mark.parametrize("mode", [{}, {"exectrail.io/tag": "env"}], ids=["auto", "env"])
def test_a_command_that_env_would_change_stays_as_it_is(
    review: Load, command: list[str] | None, reason: str, tag: str, warned: bool, mode: dict[str, str]
) -> None:
    decision = decided(review("exec-sh", {"command": command}), RECORD | mode)

    assert decision.reason == reason
    assert decision.patch == []
    assert bool(decision.warnings) == warned
    (session,) = decision.sessions.values()
    assert (session.tag, session.recorded, session.command) == (tag, True, command or [])


@pytest.mark.parametrize(
    ("labels", "reason", "tag", "warned"),
    [
        ({}, "not-opted-in", "none", False),
        ({"exectrail.io/record": "false"}, "not-opted-in", "none", False),
        ({"exectrail.io/profile": ""}, "not-opted-in", "none", False),
        ({"exectrail.io/tag": "auto"}, "not-opted-in", "none", False),
        ({"exectrail.io/tag": "match"}, "match", "none", False),
        (None, "namespace-unknown", "match", True),
    ],
)
@pytest.mark.parametrize("name", ["exec-sh", "ephemeralcontainers"])
def test_outside_opted_in_namespaces_nothing_changes_and_the_session_says_so(
    review: Load, name: str, labels: dict[str, str] | None, reason: str, tag: str, warned: bool
) -> None:
    decision = decided(review(name), labels)

    assert decision.reason == reason
    assert decision.patch == []
    assert bool(decision.warnings) == warned
    (session,) = decision.sessions.values()
    assert (session.tag, session.recorded) == (tag, False)


@pytest.mark.parametrize("name", ["exec-sh", "ephemeralcontainers"])
def test_a_namespace_may_ask_for_tags_without_being_recorded(review: Load, name: str) -> None:
    decision = decided(review(name), {"exectrail.io/tag": "env"})

    assert (decision.reason, bool(decision.patch)) == ("tagged", True)
    (session,) = decision.sessions.values()
    assert (session.tag, session.recorded) == ("env", False)


@pytest.mark.parametrize("name", ["exec-sh", "exec-env", "exec-tar", "ephemeralcontainers"])
def test_where_processes_are_to_be_matched_nothing_changes_and_the_node_looks_for_them(review: Load, name: str) -> None:
    decision = decided(review(name), RECORD | {"exectrail.io/tag": "match"})

    assert (decision.reason, decision.patch, decision.warnings) == ("match", [], [])
    (session,) = decision.sessions.values()
    assert (session.tag, session.recorded) == ("match", True)


def test_an_exec_is_known_by_the_hash_of_its_whole_command_also_where_that_is_cut(review: Load) -> None:
    command = ["sh", "-c", "x" * 100_000]

    session = session_of(review("exec-sh", {"command": command}))

    assert session.command != command
    assert session.command_hash == command_hash(KEY, [word.encode() for word in command])


@pytest.mark.parametrize("name", ["attach", "portforward", "ephemeralcontainers"])
def test_only_an_exec_has_a_command_whose_hash_is_exact(review: Load, name: str) -> None:
    assert session_of(review(name)).command_hash == ""


def test_without_the_key_there_is_no_hash(review: Load) -> None:
    rules = msgspec.structs.replace(RULES, command_key=None)
    (session,) = decide(decode(json.dumps(review("exec-sh")).encode()), Known(RECORD), rules, NOW).sessions.values()

    assert (session.command_hash, session.tag) == ("", "env")


def test_a_mistyped_mode_gives_a_warning_and_counts_as_auto(review: Load) -> None:
    decision = decided(review("exec-sh"), RECORD | {"exectrail.io/tag": "evn"})

    assert decision.reason == "tagged"
    assert decision.warnings == [
        "exectrail: label exectrail.io/tag of the namespace: no mode 'evn'; allowed: auto, env, match"
    ]


def test_the_session_has_user_request_target_and_time(review: Load) -> None:
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
        "commandHash": command_hash(KEY, [b"sh", b"-c", b"ps | head -3"]),
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
def test_attach_and_port_forward_have_a_session_only(
    review: Load, name: str, verb: str, resource: str, container: str
) -> None:
    decision = decided(review(name))

    assert (decision.reason, decision.patch, decision.warnings) == ("session-only", [], [])
    (session,) = decision.sessions.values()
    assert (session.verb, session.resource, session.target.container) == (verb, resource, container)
    assert (session.tag, session.recorded) == ("none", False)


def test_a_new_ephemeral_container_gets_the_variable_and_those_before_it_do_not(review: Load, patched: Apply) -> None:
    asked = review("ephemeralcontainers")
    expected = json.loads(json.dumps(asked["request"]["object"]))
    expected["spec"]["ephemeralContainers"][1]["env"] = [{"name": TAG, "value": asked["request"]["uid"]}]

    decision = decided(asked)

    assert decision.reason == "tagged"
    assert patched(asked, decision.patch) == expected


def test_a_debug_session_has_the_container_and_its_command(review: Load) -> None:
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


def test_each_new_container_has_a_session_whose_uid_is_its_tag(review: Load, patched: Apply) -> None:
    asked = review("ephemeralcontainers", oldObject=None)
    uid = asked["request"]["uid"]
    containers = [{"name": "one", "command": ["id"]}, {"name": "two", "args": ["-c", "ls"]}, {"name": "three"}]
    asked["request"]["object"]["spec"]["ephemeralContainers"] = containers

    decision = decided(asked)

    after = patched(asked, decision.patch)["spec"]["ephemeralContainers"]
    assert [each["env"] for each in after] == [[{"name": TAG, "value": each}] for each in decision.sessions]
    assert [(each.target.container, each.command, each.request_uid) for each in decision.sessions.values()] == [
        ("one", ["id"], ""),
        ("two", ["-c", "ls"], uid),
        ("three", [], uid),
    ]
    assert list(decision.sessions) == [uid, *(str(uuid.uuid5(uuid.UUID(uid), name)) for name in ("two", "three"))]
    assert all(tag_of(f"env\0{TAG}={each}\0sh\0".encode()) == (each, b"sh\0") for each in decision.sessions)


@pytest.mark.parametrize(("number", "sessions"), [(128, 128), (129, 1)])
def test_the_number_of_sessions_of_one_request_is_bounded(review: Load, number: int, sessions: int) -> None:
    asked = review("ephemeralcontainers", oldObject=None)
    asked["request"]["object"]["spec"]["ephemeralContainers"] = [{"name": f"c{each}"} for each in range(number)]

    decision = decided(asked)

    assert len(decision.sessions) == sessions
    assert decision.reason == ("tagged" if sessions == number else "too-large")
    assert {session.tag for session in decision.sessions.values()} == {"env" if sessions == number else "none"}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("exec-sh", {"operation": "CREATE"}),
        ("pod-create", {"operation": "UPDATE"}),
        ("exec-sh", {"subResource": "attach"}),
        ("exec-sh", {"kind": {"group": "", "version": "v1", "kind": "PodAttachOptions"}}),
        ("exec-sh", {"kind": {"group": "", "version": "v2", "kind": "PodExecOptions"}}),
        ("exec-sh", {"kind": {"group": "x", "version": "v1", "kind": "PodExecOptions"}}),
        ("exec-sh", {"kind": None}),
        ("exec-sh", {"resource": {"group": "", "version": "v1", "resource": "services"}, "operation": "CREATE"}),
        ("exec-sh", {"resource": {"group": "", "version": "v1", "resource": "services"}, "subResource": ""}),
        ("portforward", {"resource": {"group": "", "version": "v1beta1", "resource": "pods"}}),
        ("portforward", {"resource": None}),
        ("ephemeralcontainers", {"kind": {"group": "", "version": "v1", "kind": "EphemeralContainers"}}),
        ("pod-node-debug", {"kind": {"group": "apps", "version": "v1", "kind": "Pod"}}),
    ],
)
def test_other_requests_are_left_alone(review: Load, name: str, changes: dict[str, Any]) -> None:
    assert decided(review(name, **changes)) == Decision("unsupported")


KUBEVIRT = {"group": "subresources.kubevirt.io", "version": "v1", "resource": "virtualmachineinstances"}
NODES = {"group": "", "version": "v1", "resource": "nodes"}
PODS = {"group": "", "version": "v1", "resource": "pods"}
NODE_PROXY, POD_PROXY = ({"group": "", "version": "v1", "kind": f"{of}ProxyOptions"} for of in ("Node", "Pod"))
VMI = "virtualmachineinstances.subresources.kubevirt.io"


@pytest.mark.parametrize(
    ("resource", "changes", "obj", "kept", "target", "command"),
    [
        (KUBEVIRT, {"subResource": "console"}, None, f"{VMI}/console", Target("default", "", name="web"), []),
        (KUBEVIRT, {"subResource": "vnc"}, {"path": 7}, f"{VMI}/vnc", Target("default", "", name="web"), []),
        (
            NODES,
            {"subResource": "proxy", "kind": NODE_PROXY, "namespace": None},
            {"path": "/run/shop/web/app"},
            "nodes/proxy",
            Target("", "", name="web"),
            ["/run/shop/web/app"],
        ),
        (NODES, {"subResource": "proxy", "kind": NODE_PROXY}, {}, "nodes/proxy", Target("default", "", name="web"), []),
        (
            PODS,
            {"subResource": "proxy", "kind": POD_PROXY},
            {"path": "/"},
            "pods/proxy",
            Target("default", "web"),
            ["/"],
        ),
    ],
)
def test_a_console_has_a_session_only_whatever_its_object(
    review: Load,
    resource: dict[str, str],
    changes: dict[str, Any],
    obj: object,
    kept: str,
    target: Target,
    command: list[str],
) -> None:
    body = review("portforward", resource=resource, **changes)
    body["request"]["object"] = obj

    decision = decided(body)

    assert (decision.reason, decision.patch, decision.warnings) == ("session-only", [], [])
    (session,) = decision.sessions.values()
    assert (session.verb, session.resource, session.target) == ("console", kept, target)
    assert (session.command, session.tag, session.recorded) == (command, "none", False)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("exec-sh", {"command": ["ls", 7]}, "Expected `str`, got `int` - at `$.request.object.command[1]`"),
        ("exec-sh", {"tty": "yes"}, "Expected `bool`, got `str` - at `$.request.object.tty`"),
        (
            "ephemeralcontainers",
            {"spec": {"ephemeralContainers": [{"image": "x"}]}},
            "Expected `str`, got `null` - at `$.request.object.spec.ephemeralContainers[0].name`",
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
    known = {container["name"] for container in old}

    decision = decided(asked)

    after = patched(asked, decision.patch)["spec"]["ephemeralContainers"]
    tags = iter(decision.sessions)
    assert after == [
        container
        if container["name"] in known
        else {**container, "env": [*others(container), {"name": TAG, "value": next(tags)}]}
        for container in containers
    ]
    assert list(tags) == []


def others(container: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in container.get("env", []) if each["name"] != TAG]
