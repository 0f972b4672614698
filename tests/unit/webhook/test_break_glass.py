"""Who lets requests of a namespace pass that cannot be recorded is recorded, with the reason."""

import json
from typing import Any

import pytest

from exectrail.contracts.session import BREAK_GLASS_ANNOTATION, Target
from webhook.reviews.break_glass import decide
from webhook.reviews.json_value import BadReview
from webhook.reviews.review import Decision, decode
from webhook.reviews.session_spec import Rules

UID = "439b23d5-cd0d-42ac-9058-4211913ea3aa"
NOW = "2026-11-23T12:00:00.000001Z"


def namespace(reason: str | None, **more: str) -> dict[str, Any]:
    annotations = {**more, **({BREAK_GLASS_ANNOTATION: reason} if reason is not None else {})}
    return {"metadata": {"name": "shop", **({"annotations": annotations} if annotations else {})}}


def review(new: object, old: object, **changes: object) -> dict[str, Any]:
    request = {
        "uid": UID,
        "operation": "UPDATE" if old else "CREATE",
        "kind": {"group": "", "version": "v1", "kind": "Namespace"},
        "resource": {"group": "", "version": "v1", "resource": "namespaces"},
        "name": "shop",
        "namespace": "shop",
        "userInfo": {"username": "alice", "groups": ["oncall"]},
        "object": new,
        "oldObject": old,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request | changes}


def decided(new: object, old: object, rules: Rules, **changes: object) -> Decision:
    return decide(decode(json.dumps(review(new, old, **changes)).encode()), rules, NOW)


@pytest.mark.parametrize(
    ("what", "new", "old", "reason", "kept"),
    [
        ("set", namespace("etcd is full"), namespace(None), "set", "etcd is full"),
        ("set at once", namespace("new"), None, "set", "new"),
        ("set beside others", namespace("why", team="shop"), namespace(None, team="shop"), "set", "why"),
        ("changed", namespace("b"), namespace("a"), "set", "b"),
        ("removed", namespace(None), namespace("a"), "removed", ""),
        ("emptied", namespace(""), namespace("a"), "removed", ""),
    ],
)
def test_who_changes_it_has_a_session(
    what: str, new: object, old: object, reason: str, kept: str, rules: Rules
) -> None:
    decision = decided(new, old, rules)

    (spec,) = decision.sessions.values()
    assert list(decision.sessions) == [UID]
    assert (decision.reason, spec.break_glass, spec.time) == (reason, kept, NOW)
    assert (spec.verb, spec.resource, spec.target) == ("break-glass", "namespaces", Target("shop", ""))
    assert (spec.user.username, spec.user.groups) == ("alice", ["oncall"])
    assert (spec.tag, spec.recorded) == ("none", False)
    assert bool(decision.warnings) is bool(kept)
    assert (decision.patch, decision.refusal) == ([], "")


@pytest.mark.parametrize("sub", ["status", "finalize"])
def test_who_changes_it_by_a_subresource_has_a_session_that_says_so(sub: str, rules: Rules) -> None:
    decision = decided(namespace("fire"), namespace(None), rules, subResource=sub)

    (spec,) = decision.sessions.values()
    assert (decision.reason, spec.break_glass, spec.user.username) == ("set", "fire", "alice")
    assert (spec.resource, spec.target) == (f"namespaces/{sub}", Target("shop", ""))


@pytest.mark.parametrize(
    ("new", "old"),
    [
        (namespace("a"), namespace("a")),
        (namespace(None), None),
        (namespace(None, team="a"), namespace(None, team="b")),
        (namespace(""), namespace(None)),
    ],
)
def test_other_changes_have_none(new: object, old: object, rules: Rules) -> None:
    assert decided(new, old, rules) == Decision("unchanged")


def test_a_namespace_whose_name_only_its_object_has_is_named(rules: Rules) -> None:
    (spec,) = decided(namespace("a"), None, rules, name="", namespace="").sessions.values()
    assert spec.target == Target("shop", "")


def test_a_long_reason_is_cut_and_its_change_noticed_all_the_same(rules: Rules) -> None:
    (spec,) = decided(namespace("a" * 1000 + "b"), namespace("a" * 1000 + "c"), rules).sessions.values()
    assert spec.break_glass.startswith("a" * 200)
    assert spec.truncated == ["breakGlass"]


@pytest.mark.parametrize(
    "changes",
    [
        {"operation": "DELETE"},
        {"subResource": "other"},
        {"resource": {"group": "", "version": "v1", "resource": "pods"}},
        {"kind": {"group": "", "version": "v1", "kind": "Pod"}},
    ],
)
def test_what_is_no_change_of_a_namespace_is_passed(changes: dict[str, Any], rules: Rules) -> None:
    assert decided(namespace("a"), namespace("b"), rules, **changes) == Decision("unsupported")


@pytest.mark.parametrize("new", [None, 7, {"metadata": []}, {"metadata": {"annotations": {BREAK_GLASS_ANNOTATION: 7}}}])
def test_what_is_no_namespace_is_named(new: object, rules: Rules) -> None:
    with pytest.raises(BadReview, match=r"request\.object"):
        decided(new, namespace("a"), rules)
