"""New pods get the profile of their namespace, and keep what they chose themselves."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.reviews.binding import decide
from webhook.reviews.json_value import BadReview
from webhook.reviews.profile_bindings import Policies
from webhook.reviews.review import Decision, decode

Load = Callable[..., dict[str, Any]]
Apply = Callable[[dict[str, Any], list[Any]], dict[str, Any]]

LABELS = {"exectrail.io/profile": "process-audit"}
PROFILE = {"type": "Localhost", "localhostProfile": "exectrail/process-audit.json"}


def decided(review: dict[str, Any], labels: dict[str, str] | None = LABELS) -> Decision:
    return decide(decode(json.dumps(review).encode()), Policies(labels), "exectrail")


def test_a_pod_without_a_profile_gets_that_of_its_namespace_and_no_other_change(review: Load, patched: Apply) -> None:
    asked = review("pod-create")
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
        (
            {},
            {"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "a.json"}}},
            "pod-has-profile",
        ),
        ({"annotations": {"kubernetes.io/config.mirror": "a1b2"}}, {}, "mirror-pod"),
        ({}, {"os": {"name": "windows"}}, "windows"),
        ({}, {"nodeSelector": {"kubernetes.io/os": "windows"}}, "windows"),
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
        "exectrail: label exectrail.io/profile: no profile 'proces-audit'; known: process-audit"
    ]


@pytest.mark.parametrize("labels", [None, {}])
def test_a_label_that_is_not_known_yet_leaves_the_pod_unbound_with_a_warning(
    review: Load, labels: dict[str, str] | None
) -> None:
    decision = decided(review("pod-create"), labels)

    assert (decision.reason, decision.patch) == ("label-unknown", [])
    assert "exectrail.io/profile or spo.x-k8s.io/enable-binding of namespace default is not" in decision.warnings[0]


def test_a_label_that_is_empty_asks_for_nothing_and_is_known(review: Load) -> None:
    assert decided(review("pod-create"), {"exectrail.io/profile": ""}) == Decision("no-binding")


def test_a_pod_of_the_release_is_admitted_as_it_is(review: Load) -> None:
    assert decided(review("pod-create", namespace="exectrail")) == Decision("release-namespace")


@pytest.mark.parametrize(
    "changes",
    [
        {"operation": "UPDATE"},
        {"operation": "DELETE"},
        {"subResource": "ephemeralcontainers"},
        {"operation": "UPDATE", "subResource": "status"},
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


ADDS = {"capabilities": {"add": ["SYS_ADMIN", "SYS_TIME"]}}
"""Of these two together the built-in profile has no variant."""
WARNING = "exectrail: container 'c' runs without the audit profile: "


def spec_of(review: Load, patched: Apply, spec: dict[str, Any]) -> tuple[Decision, dict[str, Any]]:
    """What becomes of a pod."""
    asked = review("pod-create", {"spec": spec})
    decision = decided(asked)
    after: dict[str, Any] = patched(asked, decision.patch)["spec"]
    return decision, after


@pytest.mark.parametrize(
    ("context", "why"),
    [
        (ADDS, "it adds SYS_ADMIN, SYS_TIME"),
        ({"capabilities": {"add": ["CAP_SYS_PTRACE", "bpf"], "drop": ["ALL"]}}, "it adds CAP_SYS_PTRACE, bpf"),
        ({"capabilities": {"add": ["SYS_BOOT", "SYS_NICE"]}}, "it adds SYS_BOOT, SYS_NICE"),
        ({"capabilities": {"add": ["ALL"], "drop": ["SYS_TIME"]}}, "it adds ALL and drops SYS_TIME"),
        ({"privileged": True}, "it is privileged"),
        ({"privileged": True} | ADDS, "it is privileged"),
    ],
)
@pytest.mark.parametrize("member", ["containers", "initContainers"])
def test_a_container_that_may_do_more_than_the_profile_allows_stays_as_it_is_and_the_others_get_it(
    review: Load, patched: Apply, member: str, context: dict[str, Any], why: str
) -> None:
    mine = {"name": "c", "securityContext": context}
    spec: dict[str, Any] = {"containers": [{"name": "a"}], "initContainers": [{"name": "i", "securityContext": {}}]}
    spec[member] = [*spec[member], mine]

    decision, after = spec_of(review, patched, spec)

    assert (decision.reason, decision.warnings) == ("bound-in-part", [WARNING + why])
    assert after[member][-1] == mine
    assert after["containers"][0] == {"name": "a", "securityContext": {"seccompProfile": PROFILE}}
    assert after["initContainers"][0] == {"name": "i", "securityContext": {"seccompProfile": PROFILE}}
    assert "securityContext" not in after


@pytest.mark.parametrize(
    "context",
    [
        {"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}},
        {"capabilities": {"add": ["CAP_CHOWN", "audit_write", "SETFCAP"]}},
        {"capabilities": {"add": None}},
        {"capabilities": {"add": ["SYS_ADMIN", "SYS_TIME"], "drop": ["SYS_ADMIN", "SYS_TIME"]}},
        {"capabilities": {"drop": ["ALL"]}},
        {"privileged": False, "allowPrivilegeEscalation": True},
    ],
)
def test_what_the_runtime_gives_anyway_is_no_reason(review: Load, patched: Apply, context: dict[str, Any]) -> None:
    decision, after = spec_of(review, patched, {"containers": [{"name": "c", "securityContext": context}]})

    assert (decision.reason, decision.warnings) == ("bound", [])
    assert after["securityContext"] == {"seccompProfile": PROFILE}


@pytest.mark.parametrize(
    ("add", "drop", "variant"),
    [
        (["NET_ADMIN"], [], "process-audit"),
        (["SYS_ADMIN"], [], "process-audit-sys-admin"),
        (["CAP_SYS_ADMIN", "BPF", "perfmon"], [], "process-audit-sys-admin"),
        (["BPF", "PERFMON", "SYS_PTRACE"], [], "process-audit-bpf-perfmon-sys-ptrace"),
        (["ALL"], [], "process-audit-all"),
        (["ALL"], ["NET_RAW"], "process-audit-all"),
        (["SYS_PTRACE"], ["ALL"], "process-audit-sys-ptrace"),
        (["SYS_PTRACE", "SYS_TIME"], ["SYS_TIME"], "process-audit-sys-ptrace"),
    ],
)
def test_a_container_that_adds_capabilities_gets_the_variant_for_those_that_it_keeps(
    review: Load, patched: Apply, add: list[str], drop: list[str], variant: str
) -> None:
    mine = {"name": "c", "securityContext": {"capabilities": {"add": add, "drop": drop}}}

    decision, after = spec_of(review, patched, {"containers": [mine, {"name": "a"}]})

    assert (decision.reason, decision.warnings) == ("bound", [])
    found = [(profile_of(each) or profile_of(after))["localhostProfile"] for each in after["containers"]]
    assert found == [f"exectrail/{variant}.json", "exectrail/process-audit.json"]


def test_a_container_that_is_unconfined_by_its_own_choice_gives_a_warning(review: Load, patched: Apply) -> None:
    mine = {"name": "c", "securityContext": {"seccompProfile": {"type": "Unconfined"}}}

    decision, after = spec_of(review, patched, {"containers": [mine, {"name": "a"}]})

    assert (decision.reason, decision.warnings) == ("bound", [WARNING + "it is Unconfined"])
    assert after["containers"] == [mine, {"name": "a"}]


@pytest.mark.parametrize(
    ("profile", "reason", "warnings"),
    [
        ({"type": "RuntimeDefault"}, "beyond-profile", [WARNING + "it adds SYS_ADMIN, SYS_TIME"]),
        ({"type": "Localhost", "localhostProfile": "a.json"}, "pod-has-profile", []),
    ],
)
def test_a_container_that_may_do_more_under_a_profile_of_its_own_keeps_that(
    review: Load, patched: Apply, profile: dict[str, str], reason: str, warnings: list[str]
) -> None:
    mine = {"name": "c", "securityContext": ADDS | {"seccompProfile": profile}}

    decision, after = spec_of(review, patched, {"containers": [mine]})

    assert (decision.reason, decision.warnings) == (reason, warnings)
    assert after == {"containers": [mine]}


def runtime_default() -> dict[str, Any]:
    return {"seccompProfile": {"type": "RuntimeDefault"}}


def test_runtime_default_is_replaced_by_the_audit_profile_container_by_container(review: Load, patched: Apply) -> None:
    spec = {
        "securityContext": runtime_default(),
        "containers": [
            {"name": "a"},
            {"name": "b", "securityContext": runtime_default()},
            {"name": "c", "securityContext": ADDS},
        ],
    }

    decision, after = spec_of(review, patched, spec)

    assert (decision.reason, decision.warnings) == ("bound-in-part", [WARNING + "it adds SYS_ADMIN, SYS_TIME"])
    assert after == {
        "securityContext": runtime_default(),
        "containers": [
            {"name": "a", "securityContext": {"seccompProfile": PROFILE}},
            {"name": "b", "securityContext": {"seccompProfile": PROFILE}},
            {"name": "c", "securityContext": ADDS},
        ],
    }


def test_a_pod_of_which_no_container_can_have_the_profile_is_admitted_as_it_is(review: Load) -> None:
    decision = decided(review("pod-node-debug"))

    assert (decision.reason, decision.patch) == ("beyond-profile", [])
    assert decision.warnings == [
        "exectrail: container 'debugger' runs without the audit profile: it is privileged",
    ]


def test_a_container_that_another_webhook_adds_takes_the_profile_from_the_pod_to_the_others(
    review: Load, patched: Apply
) -> None:
    _, before = spec_of(review, patched, {"containers": [{"name": "a"}], "securityContext": {"runAsUser": 7}})
    proxy = {"name": "c", "securityContext": {"capabilities": {"add": ["SYS_BOOT", "SYS_NICE"]}}}

    decision, after = spec_of(review, patched, before | {"initContainers": [proxy]})

    assert (decision.reason, decision.warnings) == ("bound-in-part", [WARNING + "it adds SYS_BOOT, SYS_NICE"])
    assert after == {
        "containers": [{"name": "a", "securityContext": {"seccompProfile": PROFILE}}],
        "initContainers": [proxy],
        "securityContext": {"runAsUser": 7},
    }


@pytest.mark.parametrize(
    ("profile", "containers"),
    [
        ("process-audit-sys-admin", [{"name": "build"}]),
        ("process-audit-sys-admin", [{"name": "build"}, {"name": "sign", "securityContext": {"runAsUser": 7}}]),
        ("process-audit-all", [{"name": "c", "securityContext": ADDS}]),
        ("process-audit", [{"name": "c", "securityContext": {"privileged": True}}]),
    ],
)
def test_a_built_in_profile_that_the_pod_chose_itself_stays(
    review: Load, patched: Apply, profile: str, containers: list[dict[str, Any]]
) -> None:
    chosen = {"type": "Localhost", "localhostProfile": f"exectrail/{profile}.json"}
    spec = {"securityContext": {"seccompProfile": chosen}, "containers": containers}

    decision, after = spec_of(review, patched, spec)

    assert (decision.reason, decision.warnings) == ("bound", [])
    assert after == spec


@pytest.mark.parametrize(
    ("before", "after", "suffix"),
    [
        ([], ["SYS_ADMIN"], "-sys-admin"),
        (["SYS_ADMIN"], ["SYS_ADMIN", "SYS_PTRACE"], "-sys-admin-sys-ptrace"),
        ([], ["ALL"], "-all"),
        ([], ["SYS_ADMIN", "SYS_TIME"], None),
    ],
)
def test_a_container_that_another_webhook_lets_do_more_loses_no_system_call_by_an_earlier_look(
    review: Load, patched: Apply, before: list[str], after: list[str], suffix: str | None
) -> None:
    def adding(capabilities: list[str]) -> list[dict[str, Any]]:
        return [{"name": "app", "securityContext": {"capabilities": {"add": capabilities}}}]

    _, first = spec_of(review, patched, {"containers": adding(before)})
    _, second = spec_of(review, patched, first | {"containers": adding(after)})

    expected = {"type": "Localhost", "localhostProfile": f"exectrail/process-audit{suffix}.json"} if suffix else None
    assert profile_of(second) == expected


def test_many_containers_do_not_make_many_warnings(review: Load) -> None:
    containers = [{"name": f"c{number}", "securityContext": {"privileged": True}} for number in range(20)]

    warnings = decided(review("pod-create", {"spec": {"containers": containers}})).warnings

    assert len(warnings) == 9
    assert warnings[-1] == "exectrail: 12 more warnings"


def test_a_warning_is_short_whatever_the_names(review: Load) -> None:
    context = {"capabilities": {"add": ["SYS_BOOT", "SYS_NICE", *["X" * 500] * 100]}}

    (warning,) = decided(
        review("pod-create", {"spec": {"containers": [{"name": "n" * 250, "securityContext": context}]}})
    ).warnings

    assert len(warning) <= 256


@pytest.mark.parametrize("member", ["add", "drop"])
def test_a_pod_with_more_capabilities_than_are_read_is_admitted_as_it_is(review: Load, member: str) -> None:
    context = {"capabilities": {member: ["SYS_TIME"] * 20_000}}
    spec = {"containers": [{"name": "c", "securityContext": context}]}

    decision = decided(review("pod-create", {"spec": spec}))

    assert (decision.reason, decision.patch) == ("too-large", [])


def test_a_pod_with_more_containers_than_are_read_is_admitted_as_it_is(review: Load) -> None:
    decision = decided(review("pod-create", {"spec": {"containers": [{"name": "c"}] * 10_001}}))

    assert (decision.reason, decision.patch) == ("too-large", [])
    assert "there is more in it than is read of a pod" in decision.warnings[0]


_SYS_ADMIN = {"type": "Localhost", "localhostProfile": "exectrail/process-audit-sys-admin.json"}
_PROFILES = st.sampled_from([None, {"type": "Unconfined"}, {"type": "RuntimeDefault"}, PROFILE, _SYS_ADMIN])
_CONTEXTS: st.SearchStrategy[dict[str, Any] | None] = st.none() | st.fixed_dictionaries(
    {}, optional={"seccompProfile": _PROFILES, "runAsUser": st.integers(0, 9), "sysctls": st.just([])}
)
_CAPABILITIES = st.none() | st.fixed_dictionaries(
    {"add": st.none() | st.lists(st.sampled_from(["CHOWN", "SYS_ADMIN", "SYS_TIME"]), max_size=3)}
)
_CONTAINER_CONTEXTS: st.SearchStrategy[dict[str, Any] | None] = st.none() | st.fixed_dictionaries(
    {"capabilities": _CAPABILITIES}, optional={"seccompProfile": _PROFILES, "privileged": st.booleans()}
)
_CONTAINERS = st.lists(
    st.fixed_dictionaries({"name": st.text(max_size=5)}, optional={"securityContext": _CONTAINER_CONTEXTS}), max_size=4
)
_SPECS = st.fixed_dictionaries(
    {"containers": _CONTAINERS},
    optional={"securityContext": _CONTEXTS, "initContainers": _CONTAINERS, "hostUsers": st.booleans()},
)


def profile_of(owner: dict[str, Any]) -> Any:
    return (owner.get("securityContext") or {}).get("seccompProfile")


def suits(container: dict[str, Any]) -> Any:
    """The variant of the built-in profile for a container; None where there is none."""
    context = container.get("securityContext") or {}
    added = {*((context.get("capabilities") or {}).get("add") or [])} - {"CHOWN"}
    if context.get("privileged") or len(added) > 1:
        return None
    suffix = {"SYS_ADMIN": "-sys-admin", "SYS_TIME": "-sys-time"}.get(next(iter(added), ""), "")
    return {"type": "Localhost", "localhostProfile": f"exectrail/process-audit{suffix}.json"}


def needs_more(container: dict[str, Any], profile: Any) -> bool:
    """Whether a built-in profile would refuse a container's calls that RuntimeDefault allows."""
    context = container.get("securityContext") or {}
    added = {*((context.get("capabilities") or {}).get("add") or [])} - {"CHOWN"}
    allowed = {PROFILE["localhostProfile"]: set(), _SYS_ADMIN["localhostProfile"]: {"SYS_ADMIN"}}
    file = (profile or {}).get("localhostProfile")
    return file in allowed and not context.get("privileged") and not added <= allowed[file]


def containers_in(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [*spec["containers"], *spec.get("initContainers", [])]


@given(spec=_SPECS)
def test_whatever_the_pod_each_container_has_the_profile_that_suits_it_and_a_second_look_changes_nothing(
    review: Load, patched: Apply, spec: dict[str, Any]
) -> None:
    decision, after = spec_of(review, patched, spec)

    pods_own = profile_of(spec)
    if any(
        suits(each) == pods_own or needs_more(each, pods_own) for each in containers_in(spec) if not profile_of(each)
    ):
        pods_own = None  # it may as well be from an earlier look
    for before, container in zip(containers_in(spec), containers_in(after), strict=True):
        runs_with = profile_of(container) or profile_of(after)
        own = profile_of(before) or pods_own
        if own in (None, {"type": "RuntimeDefault"}) and suits(before):
            assert runs_with == suits(before)
        else:
            assert runs_with == own
    assert _without_profiles(after) == _without_profiles(spec)
    again = decided(review("pod-create", {"spec": after}))
    assert (again.patch, again.warnings) == ([], decision.warnings)


def _without_profiles(spec: dict[str, Any]) -> dict[str, Any]:
    """A spec whose securityContexts are there, and say nothing of profiles."""

    def stripped(owner: dict[str, Any]) -> dict[str, Any]:
        context = owner.get("securityContext") or {}
        return owner | {"securityContext": {key: value for key, value in context.items() if key != "seccompProfile"}}

    lists = {
        member: [stripped(each) for each in spec[member]]
        for member in ("containers", "initContainers")
        if member in spec
    }
    return stripped(spec) | lists
