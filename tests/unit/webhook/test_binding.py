"""New pods get the profile of their namespace, and keep what they chose themselves."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.admission import Decision, decode
from webhook.binding import decide
from webhook.json_value import BadReview

Load = Callable[..., dict[str, Any]]
Apply = Callable[[dict[str, Any], list[Any]], dict[str, Any]]

LABELS = {"exectrail.io/profile": "process-audit"}
PROFILE = {"type": "Localhost", "localhostProfile": "exectrail/process-audit.json"}


def decided(review: dict[str, Any], labels: dict[str, str] | None = LABELS) -> Decision:
    return decide(decode(json.dumps(review).encode()), labels)


@pytest.mark.parametrize("name", ["pod-create", "pod-node-debug"])
def test_a_pod_without_a_profile_gets_that_of_its_namespace_and_no_other_change(
    review: Load, patched: Apply, name: str
) -> None:
    asked = review(name)
    expected = json.loads(json.dumps(asked["request"]["object"]))
    expected["spec"]["securityContext"]["seccompProfile"] = PROFILE

    decision = decided(asked)

    assert (decision.reason, decision.warnings) == ("bound", [])
    assert patched(asked, decision.patch) == expected


@pytest.mark.parametrize("context", [None, {}, {"runAsUser": 1000, "fsGroup": 7}, {"seccompProfile": None}])
def test_what_else_the_pods_security_context_says_stays(
    review: Load, patched: Apply, context: dict[str, Any] | None
) -> None:
    asked = review("pod-create")
    asked["request"]["object"]["spec"]["securityContext"] = context

    after = patched(asked, decided(asked).patch)["spec"]["securityContext"]

    assert after == (context or {}) | {"seccompProfile": PROFILE}


def test_a_pod_that_has_no_security_context_gets_one(review: Load, patched: Apply) -> None:
    asked = review("pod-create")
    del asked["request"]["object"]["spec"]["securityContext"]

    assert patched(asked, decided(asked).patch)["spec"]["securityContext"] == {"seccompProfile": PROFILE}


@pytest.mark.parametrize(
    ("metadata", "spec", "reason"),
    [
        ({}, {"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, "pod-has-profile"),
        ({}, {"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}, "pod-has-profile"),
        ({"annotations": {"kubernetes.io/config.mirror": "a1b2"}}, {}, "mirror-pod"),
        ({}, {"os": {"name": "windows"}}, "windows"),
    ],
)
def test_a_pod_that_is_not_ours_to_change_is_admitted_as_it_is(
    review: Load, metadata: dict[str, Any], spec: dict[str, Any], reason: str
) -> None:
    asked = review("pod-create")
    asked["request"]["object"]["metadata"] |= metadata
    asked["request"]["object"]["spec"] |= spec

    assert decided(asked) == Decision(reason)


def test_an_unknown_profile_is_admitted_with_a_warning_that_lists_the_known_ones(review: Load) -> None:
    decision = decided(review("pod-create"), {"exectrail.io/profile": "proces-audit"})

    assert (decision.reason, decision.patch) == ("unknown-profile", [])
    assert decision.warnings == [
        "exectrail: pod admitted without an audit profile: no profile 'proces-audit'; known: process-audit"
    ]


@pytest.mark.parametrize("labels", [None, {}])
def test_a_label_that_is_not_known_yet_leaves_the_pod_unbound_with_a_warning(
    review: Load, labels: dict[str, str] | None
) -> None:
    decision = decided(review("pod-create"), labels)

    assert (decision.reason, decision.patch) == ("label-unknown", [])
    assert "exectrail.io/profile of namespace default is not known here yet" in decision.warnings[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"operation": "UPDATE"},
        {"subResource": "ephemeralcontainers"},
        {"kind": {"group": "", "version": "v1", "kind": "PodTemplate"}},
        {"resource": {"group": "apps", "version": "v1", "resource": "pods"}},
        {"kind": None},
    ],
)
def test_only_the_creation_of_a_pod_binds(review: Load, changes: dict[str, Any]) -> None:
    assert decided(review("pod-create", **changes)) == Decision("unsupported")


def test_a_pod_without_a_spec_is_refused_with_the_fields_path(review: Load) -> None:
    asked = review("pod-create")
    del asked["request"]["object"]["spec"]

    with pytest.raises(BadReview, match=r"Expected `object`, got `null` - at `\$\.request\.object\.spec`"):
        decided(asked)


_PROFILES = st.sampled_from([None, {"type": "Unconfined"}, {"type": "RuntimeDefault"}, PROFILE])
_CONTEXTS: st.SearchStrategy[dict[str, Any] | None] = st.none() | st.fixed_dictionaries(
    {}, optional={"seccompProfile": _PROFILES, "runAsUser": st.integers(0, 9), "sysctls": st.just([])}
)
_CONTAINERS = st.lists(
    st.fixed_dictionaries({"name": st.text(max_size=5)}, optional={"securityContext": _CONTEXTS}), max_size=4
)
_SPECS = st.fixed_dictionaries(
    {"containers": _CONTAINERS},
    optional={"securityContext": _CONTEXTS, "initContainers": _CONTAINERS, "hostUsers": st.booleans()},
)


@given(spec=_SPECS)
def test_any_pod_has_a_profile_afterwards_keeps_the_rest_and_a_second_look_changes_nothing(
    review: Load, patched: Apply, spec: dict[str, Any]
) -> None:
    asked = review("pod-create", {"spec": spec})

    after = patched(asked, decided(asked).patch)

    own = (spec.get("securityContext") or {}).get("seccompProfile")
    assert after["spec"]["securityContext"]["seccompProfile"] == (own or PROFILE)
    assert _without_profile(after["spec"]) == _without_profile(spec)
    assert decided(review("pod-create", after)) == Decision("pod-has-profile")


def _without_profile(spec: dict[str, Any]) -> dict[str, Any]:
    context = {key: value for key, value in (spec.get("securityContext") or {}).items() if key != "seccompProfile"}
    return spec | {"securityContext": context}
