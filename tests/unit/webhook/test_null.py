"""A member that is null is as one that is not there, wherever it is: Go writes empty lists and maps so."""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from webhook.reviews import binding, exec_metadata
from webhook.reviews.json_value import BadReview
from webhook.reviews.profile_bindings import Policies, ProfileBinding, binding_of
from webhook.reviews.review import Decision, Request, decode
from webhook.reviews.session_spec import Rules
from webhook.reviews.tag_mode import Known

Load = Callable[..., dict[str, Any]]
Path = tuple[str | int, ...]

LABELS = {"exectrail.io/record": "true", "exectrail.io/profile": "process-audit"}
BINDING = {
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "profileRef": {"kind": "SeccompProfile", "name": "missing"},
        "image": "*",
        "podSelector": {"matchExpressions": [{"key": "run", "operator": "DoesNotExist"}]},
    },
}
POLICIES = Policies(
    LABELS | {"spo.x-k8s.io/enable-binding": ""},
    tuple(filter(None, [binding_of(msgspec.convert(BINDING, ProfileBinding))])),
)
CONTAINER: dict[str, Any] = {
    "name": "c",
    "command": ["sh"],
    "args": ["-c", "id"],
    "env": [{"name": "A", "value": "b"}, {"name": "SPO_EXEC_REQUEST_UID", "value": "forged"}],
    "tty": True,
    "stdin": True,
    "securityContext": {
        "privileged": False,
        "capabilities": {"add": ["SYS_ADMIN"], "drop": ["ALL"]},
        "seccompProfile": {"type": "Localhost", "localhostProfile": "x"},
    },
}
USER = {"username": "a", "uid": "7", "groups": ["g"], "extra": {"sessionName": ["s"], "arn": ["a"]}}
FULL_POD = {
    "metadata": {
        "generateName": "node-debugger-",
        "labels": {"app.kubernetes.io/managed-by": "kubectl-debug", "a": "b"},
        "annotations": {"kubernetes.io/config.mirror": "x", "a": "b"},
    },
    "spec": {
        "nodeName": "n",
        "hostPID": True,
        "hostNetwork": True,
        "hostIPC": True,
        "os": {"name": "windows"},
        "securityContext": {"runAsUser": 7, "seccompProfile": {"type": "Localhost", "localhostProfile": "x"}},
        "volumes": [{"name": "v", "hostPath": {"path": "/"}}],
        "containers": [CONTAINER, {"name": "d"}],
        "initContainers": [CONTAINER | {"name": "i"}],
        "ephemeralContainers": [CONTAINER | {"name": "e"}, {"name": "f"}],
    },
}


def members(of: Any, path: Path = ()) -> Iterator[Path]:
    """The paths of all members of all objects."""
    for key, value in of.items() if isinstance(of, dict) else enumerate(of) if isinstance(of, list) else ():
        if isinstance(of, dict):
            yield (*path, key)
        yield from members(value, (*path, key))


def without(review: dict[str, Any], path: Path, *, null: bool) -> dict[str, Any]:
    review = copy.deepcopy(review)
    parent: Any = review
    for key in path[:-1]:
        parent = parent[key]
    if null:
        parent[path[-1]] = None
    else:
        del parent[path[-1]]
    return review


def decided(review: dict[str, Any], rules: Rules) -> list[Decision | str]:
    """Both webhooks' decisions."""
    answers: list[Decision | str] = []
    decisions: tuple[Callable[[Request], Decision], ...] = (
        lambda request: exec_metadata.decide(request, Known(LABELS), rules, "now"),
        lambda request: binding.decide(request, POLICIES),
    )
    for decide in decisions:
        try:
            answers.append(decide(decode(json.dumps(review).encode())))
        except BadReview:
            answers.append("refused")
    return answers


@pytest.mark.parametrize("full", [False, True], ids=["captured", "full"])
@pytest.mark.parametrize(
    "name", ["attach", "ephemeralcontainers", "exec-env", "exec-sh", "pod-create", "pod-node-debug", "portforward"]
)
def test_null_is_decided_like_absence(review: Load, rules: Rules, name: str, full: bool) -> None:
    asked = review(name)
    if full:
        asked["request"] |= {"userInfo": USER, "dryRun": True}
        if asked["request"]["kind"]["kind"] == "Pod":
            asked["request"]["object"] = FULL_POD
            asked["request"]["oldObject"] = {"spec": {"ephemeralContainers": [{"name": "f"}]}}
    paths = list(members(asked))

    assert len(paths) > 30
    for path in paths:
        null, absent = (without(asked, path, null=null) for null in (True, False))
        assert decided(null, rules) == decided(absent, rules), path


def test_only_what_makes_a_review_is_required(review: Load, rules: Rules) -> None:
    asked = review("exec-sh")

    refused = {path for path in members(asked) if decided(without(asked, path, null=True), rules)[0] == "refused"}

    assert refused == {("apiVersion",), ("request",), ("request", "uid"), ("request", "object")}
