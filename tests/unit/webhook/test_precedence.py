"""Which profile a container ends up with: the whole table of precedence, whatever order the API lists bindings in."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import Struct

from exectrail.contracts.meta import ObjectMeta
from webhook.reviews.binding import decide, explained
from webhook.reviews.profile_bindings import (
    Binding,
    Policies,
    ProfileBinding,
    ProfileStatus,
    SeccompProfile,
    binding_of,
    in_order,
)
from webhook.reviews.review import Decision, decode

Load = Callable[..., dict[str, Any]]
Apply = Callable[[dict[str, Any], list[Any]], dict[str, Any]]

AUDIT, SYS_ADMIN = "exectrail/process-audit.json", "exectrail/process-audit-sys-admin.json"
ONLY_LABEL, ONLY = "process-audit-only", "exectrail/process-audit-only.json"
DEFAULT, UNCONFINED = "RuntimeDefault", "Unconfined"
ONE, TWO = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
PROFILES = {
    name: SeccompProfile(ObjectMeta(name=name), ProfileStatus(status, path))
    for name, status, path in (
        *((name, "Installed", f"operator/{name}.json") for name in "abcd"),
        ("pending", "Pending", "operator/pending.json"),
        ("new", "", ""),
        ("pathless", "Installed", ""),
        ("absolute", "Installed", "/etc/x.json"),
        ("upwards", "Installed", "operator/../x.json"),
    )
}


def path(profile: str) -> str:
    return f"operator/{profile}.json"


def bind(name: str, image: str, profile: str, selector: Any = None, *, enforce: str = "", kind: str = "") -> Binding:
    """A binding as the API has it."""
    spec: dict[str, Any] = {"image": image, "profileRef": {"kind": kind or "SeccompProfile", "name": profile}}
    if selector is not None:
        spec["podSelector"] = selector
    annotations = {"exectrail.io/enforce": enforce} if enforce else {}
    found = {"metadata": {"name": name, "namespace": "default", "annotations": annotations}, "spec": spec}
    made = binding_of(msgspec.convert(found, ProfileBinding))
    assert made
    return made


class Row(Struct, frozen=True):
    """A container, its namespace, and what is to become of it."""

    says: str
    bindings: list[Binding]
    expected: str | None
    """The file of its profile, RuntimeDefault or Unconfined; `None`: no profile."""
    image: str = "nginx"
    own: str | None = None
    pod: str | None = None
    context: dict[str, Any] = {}
    labels: dict[str, str] = {}
    label: str = ""
    """The value of the namespace's label exectrail.io/profile."""
    opted: bool = True
    """Whether the namespace has the label spo.x-k8s.io/enable-binding."""
    allow_unconfined: bool = False
    warns: str = ""


WEB = {"matchLabels": {"app": "web"}}
APP = {"app": "web"}
ADDS = {"capabilities": {"add": ["SYS_ADMIN", "SYS_TIME"]}}
"""Of these two together the built-in profile has no variant."""
PRIVILEGED = {"privileged": True}


def expression(operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": "app", "operator": operator, "values": list(values)}]}


ROWS = [
    # Which image a binding means.
    Row("no binding, no label", [], None),
    Row("another image", [bind("x", "redis", "a")], None),
    Row("the same name", [bind("x", "nginx", "a")], path("a")),
    Row("the name in full", [bind("x", "docker.io/library/nginx:latest", "a")], path("a")),
    Row("a container that spells it in full", [bind("x", "nginx", "a")], path("a"), "docker.io/library/nginx:latest"),
    Row("the legacy registry", [bind("x", "nginx", "a")], path("a"), "index.docker.io/nginx"),
    Row("a user of the default registry", [bind("x", "me/app:1", "a")], path("a"), "docker.io/me/app:1"),
    Row("another registry", [bind("x", "nginx", "a")], None, "quay.io/nginx"),
    Row("no tag is latest, not every tag", [bind("x", "nginx", "a")], None, "nginx:1.25"),
    Row("the tag", [bind("x", "nginx:1.25", "a")], path("a"), "nginx:1.25"),
    Row("another tag", [bind("x", "nginx:1.24", "a")], None, "nginx:1.25"),
    Row("every tag of a repository", [bind("x", "nginx:*", "a")], path("a"), "nginx:1.25"),
    Row("every digest of a repository", [bind("x", "nginx:*", "a")], path("a"), f"nginx@{ONE}"),
    Row("another repository", [bind("x", "nginx:*", "a")], None, "nginx-unit"),
    Row("a registry with a port", [bind("x", "reg:5000/app", "a")], path("a"), "reg:5000/app:latest"),
    Row("another port", [bind("x", "reg:5000/app", "a")], None, "reg:5001/app"),
    Row("localhost is a registry", [bind("x", "localhost/app", "a")], path("a"), "localhost/app:latest"),
    Row("the digest", [bind("x", f"nginx@{ONE}", "a")], path("a"), f"nginx@{ONE}"),
    Row("another digest", [bind("x", f"nginx@{TWO}", "a")], None, f"nginx@{ONE}"),
    Row("a digest with a tag", [bind("x", f"nginx:1@{ONE}", "a")], path("a"), f"nginx:2@{ONE}"),
    Row("the tag of an image with a digest", [bind("x", "nginx:2", "a")], path("a"), f"nginx:2@{ONE}"),
    Row("a digest alone has no tag", [bind("x", "nginx", "a")], None, f"nginx@{ONE}"),
    Row("a digest of an image by tag", [bind("x", f"nginx@{ONE}", "a")], None, "nginx"),
    # Which of several wins.
    Row(
        "digest before tag, repository and all",
        [bind("w", "*", "d"), bind("x", "nginx:*", "c"), bind("y", "nginx:2", "b"), bind("z", f"nginx@{ONE}", "a")],
        path("a"),
        f"nginx:2@{ONE}",
    ),
    Row(
        "tag before repository and all",
        [bind("w", "*", "d"), bind("x", "nginx:*", "c"), bind("y", "nginx:2", "b")],
        path("b"),
        "nginx:2",
    ),
    Row("repository before all", [bind("w", "*", "d"), bind("x", "nginx:*", "c")], path("c"), "nginx:2"),
    Row("a selector before none", [bind("a", "nginx", "a"), bind("b", "nginx", "b", WEB)], path("b"), labels=APP),
    Row("an empty selector is none", [bind("a", "nginx", "a"), bind("b", "nginx", "b", {})], path("a"), labels=APP),
    Row("a tag before a selector", [bind("a", "nginx:*", "a", WEB), bind("b", "nginx", "b")], path("b"), labels=APP),
    Row("the first name of equal ones", [bind("b", "nginx", "b"), bind("a", "nginx", "a")], path("a")),
    Row(
        "the first name of equal selectors",
        [bind("b", "nginx", "b", WEB), bind("a", "nginx", "a", WEB)],
        path("a"),
        labels=APP,
    ),
    Row("one image by two spellings", [bind("b", "nginx", "b"), bind("a", "docker.io/nginx", "a")], path("a")),
    Row("the first name of two for all", [bind("b", "*", "b"), bind("a", "*", "a")], path("a")),
    Row("all with a selector before all", [bind("a", "*", "a"), bind("b", "*", "b", WEB)], path("b"), labels=APP),
    # Which pods a selector means.
    Row("matchLabels", [bind("x", "nginx", "a", WEB)], path("a"), labels=APP),
    Row("matchLabels of another pod", [bind("x", "nginx", "a", WEB)], None, labels={"app": "db"}),
    Row("matchLabels of a pod without labels", [bind("x", "nginx", "a", WEB)], None),
    Row("In", [bind("x", "nginx", "a", expression("In", "db", "web"))], path("a"), labels=APP),
    Row("In without the value", [bind("x", "nginx", "a", expression("In", "db"))], None, labels=APP),
    Row("In without the label", [bind("x", "nginx", "a", expression("In", "db"))], None),
    Row("NotIn", [bind("x", "nginx", "a", expression("NotIn", "db"))], path("a"), labels=APP),
    Row("NotIn without the label", [bind("x", "nginx", "a", expression("NotIn", "db"))], path("a")),
    Row("NotIn with the value", [bind("x", "nginx", "a", expression("NotIn", "web"))], None, labels=APP),
    Row("Exists", [bind("x", "nginx", "a", expression("Exists"))], path("a"), labels=APP),
    Row("Exists without the label", [bind("x", "nginx", "a", expression("Exists"))], None),
    Row("DoesNotExist", [bind("x", "nginx", "a", expression("DoesNotExist"))], path("a")),
    Row("DoesNotExist with the label", [bind("x", "nginx", "a", expression("DoesNotExist"))], None, labels=APP),
    Row("both members", [bind("x", "nginx", "a", WEB | expression("NotIn", "web"))], None, labels=APP),
    Row("all, by a selector", [bind("x", "*", "a", WEB)], path("a"), labels=APP),
    Row("all, for another pod", [bind("x", "*", "a", WEB)], None),
    Row(
        "an unknown operator matches no pod",
        [bind("x", "nginx", "a", expression("Gt", "1"))],
        None,
        labels=APP,
        warns="does not get that of ProfileBinding x: its podSelector matches no pod: matchExpressions: no operator",
    ),
    Row(
        "In without values matches no pod",
        [bind("x", "*", "a", expression("In"))],
        None,
        labels=APP,
        warns="ProfileBinding x is passed over: its podSelector matches no pod: matchExpressions: In on 'app' needs",
    ),
    Row(
        "Exists with values matches no pod",
        [bind("x", "nginx", "a", expression("Exists", "web")), bind("y", "nginx", "b")],
        path("b"),
        labels=APP,
        warns="Exists on 'app' takes no values",
    ),
    # Against the container's own value.
    Row(
        "an image's beats Unconfined",
        [bind("x", "nginx", "a")],
        path("a"),
        own=UNCONFINED,
        warns="gets the profile of ProfileBinding x in place of its own, Unconfined",
    ),
    Row(
        "an image's beats RuntimeDefault",
        [bind("x", "nginx", "a")],
        path("a"),
        own=DEFAULT,
        warns="in place of its own, RuntimeDefault",
    ),
    Row(
        "an image's beats another file",
        [bind("x", "nginx", "a")],
        path("a"),
        own="mine.json",
        warns="in place of its own, Localhost mine.json",
    ),
    Row(
        "an image's beats the pod's value",
        [bind("x", "nginx", "a")],
        path("a"),
        pod=UNCONFINED,
        warns="in place of its own, Unconfined",
    ),
    Row("an image's is what it has already", [bind("x", "nginx", "a")], path("a"), own=path("a")),
    Row("all does not beat RuntimeDefault", [bind("x", "*", "a")], DEFAULT, own=DEFAULT),
    Row("all does not beat another file", [bind("x", "*", "a")], "mine.json", own="mine.json"),
    Row("all does not beat the pod's value", [bind("x", "*", "a")], DEFAULT, pod=DEFAULT),
    Row(
        "all leaves Unconfined",
        [bind("x", "*", "a")],
        UNCONFINED,
        own=UNCONFINED,
        warns="stays Unconfined: ProfileBinding x for all images has no annotation exectrail.io/enforce=true",
    ),
    Row(
        "all leaves an Unconfined pod",
        [bind("x", "*", "a", enforce="yes")],
        UNCONFINED,
        pod=UNCONFINED,
        warns="stays Unconfined: ProfileBinding x for all images",
    ),
    Row(
        "all, enforced, beats Unconfined",
        [bind("x", "*", "a", enforce="true")],
        path("a"),
        own=UNCONFINED,
        warns="gets the profile of ProfileBinding x in place of its own, Unconfined",
    ),
    Row(
        "all, enforced, beats an Unconfined pod",
        [bind("x", "*", "a", enforce="true")],
        path("a"),
        pod=UNCONFINED,
        warns="in place of its own, Unconfined",
    ),
    Row("all, enforced, leaves RuntimeDefault", [bind("x", "*", "a", enforce="true")], DEFAULT, own=DEFAULT),
    Row("all, enforced, leaves a file", [bind("x", "*", "a", enforce="true")], "mine.json", own="mine.json"),
    # Beside the namespace's label.
    Row("the label alone", [], AUDIT, label="process-audit", opted=False),
    Row(
        "the label, and bindings that do not apply",
        [bind("x", "nginx", "a")],
        AUDIT,
        label="process-audit",
        opted=False,
    ),
    Row("the label, and a binding for another image", [bind("x", "redis", "a")], AUDIT, label="process-audit"),
    Row("all before the label", [bind("x", "*", "a")], path("a"), label="process-audit"),
    Row("an image's before the label", [bind("x", "nginx", "a")], path("a"), label="process-audit"),
    Row("the label beats RuntimeDefault", [], AUDIT, own=DEFAULT, label="process-audit", opted=False),
    Row("the label beats the pod's RuntimeDefault", [], AUDIT, pod=DEFAULT, label="process-audit"),
    Row("RuntimeDefault: not all, but the label", [bind("x", "*", "a")], AUDIT, own=DEFAULT, label="process-audit"),
    Row("the label leaves a built-in profile", [], SYS_ADMIN, own=SYS_ADMIN, label="process-audit"),
    Row("the label leaves a file", [], "mine.json", own="mine.json", label="process-audit"),
    Row(
        "the label leaves Unconfined",
        [],
        UNCONFINED,
        own=UNCONFINED,
        label="process-audit",
        warns="runs without the audit profile: it is Unconfined",
    ),
    Row(
        "an unknown label", [], None, label="nonsense", opted=False, warns="no profile 'nonsense'; known: process-audit"
    ),
    Row(
        "an unknown label and a binding",
        [bind("x", "nginx", "a")],
        path("a"),
        label="nonsense",
        warns="no profile 'nonsense'",
    ),
    # Profiles that cannot be used yet.
    Row(
        "no such profile",
        [bind("x", "nginx", "gone")],
        None,
        warns="does not get that of ProfileBinding x: there is no SeccompProfile 'gone'",
    ),
    Row(
        "a profile that is not installed",
        [bind("x", "nginx", "pending")],
        None,
        warns="SeccompProfile 'pending' is not ready: its status is 'Pending'",
    ),
    Row("a profile without a status", [bind("x", "nginx", "new")], None, warns="its status is ''"),
    Row("a profile without a path", [bind("x", "*", "pathless")], None, warns="has no usable localhostProfile"),
    Row("a path that the API refuses", [bind("x", "nginx", "absolute")], None, warns="has no usable localhostProfile"),
    Row("a path that leads out", [bind("x", "nginx", "upwards")], None, warns="has no usable localhostProfile"),
    Row("another image's profile is missing", [bind("x", "redis", "gone"), bind("y", "nginx", "a")], path("a")),
    Row("missing, then the next", [bind("x", "nginx", "gone"), bind("y", "nginx:*", "a")], path("a"), warns="'gone'"),
    Row("missing, then all", [bind("x", "nginx", "gone"), bind("y", "*", "a")], path("a"), warns="'gone'"),
    Row("missing, then the label", [bind("x", "nginx", "gone")], AUDIT, label="process-audit", warns="'gone'"),
    Row("missing, then its own", [bind("x", "nginx", "gone")], "mine.json", own="mine.json", warns="'gone'"),
    Row("all is missing, then all", [bind("x", "*", "gone"), bind("y", "*", "a")], path("a"), warns="'gone'"),
    Row(
        "another kind", [bind("x", "nginx", "a", kind="SelinuxProfile")], None, warns="profileRef.kind 'SelinuxProfile'"
    ),
    Row(
        "another kind, then a profile",
        [bind("x", "nginx", "a", kind="AppArmorProfile"), bind("y", "*", "b")],
        path("b"),
        warns="'AppArmorProfile' is not supported; supported: SeccompProfile",
    ),
    # Containers that may do more.
    Row("an image's, with capabilities", [bind("x", "nginx", "a")], path("a"), context=ADDS),
    Row("all, with capabilities", [bind("x", "*", "a")], path("a"), context=ADDS),
    Row(
        "the label, with capabilities",
        [],
        None,
        context=ADDS,
        label="process-audit",
        warns="runs without the audit profile: it adds SYS_ADMIN, SYS_TIME",
    ),
    Row(
        "an image's, privileged",
        [bind("x", "nginx", "a")],
        path("a"),
        context=PRIVILEGED,
        warns="is privileged: the runtime ignores its profile",
    ),
    Row("all, privileged", [bind("x", "*", "a")], path("a"), context=PRIVILEGED, warns="is privileged"),
    Row(
        "the label, privileged",
        [],
        None,
        context=PRIVILEGED,
        label="process-audit",
        warns="runs without the audit profile: it is privileged",
    ),
    # The built-in profile that refuses nothing.
    Row("only: no own", [], ONLY, label=ONLY_LABEL, allow_unconfined=True),
    Row("only: Unconfined", [], ONLY, own=UNCONFINED, label=ONLY_LABEL, allow_unconfined=True),
    Row("only: its pod Unconfined", [], ONLY, pod=UNCONFINED, label=ONLY_LABEL, allow_unconfined=True),
    Row("only: with capabilities", [], ONLY, context=ADDS, label=ONLY_LABEL, allow_unconfined=True),
    Row("only: its own file", [], "mine.json", own="mine.json", label=ONLY_LABEL, allow_unconfined=True),
    Row("only: its own process-audit", [], AUDIT, own=AUDIT, label=ONLY_LABEL, allow_unconfined=True),
    Row("only: its pod's process-audit", [], AUDIT, pod=AUDIT, label=ONLY_LABEL, allow_unconfined=True),
    Row("only: and a binding for all", [bind("x", "*", "a")], path("a"), label=ONLY_LABEL, allow_unconfined=True),
    Row(
        "only: Unconfined, which a binding for all does not reach",
        [bind("x", "*", "a")],
        ONLY,
        own=UNCONFINED,
        label=ONLY_LABEL,
        allow_unconfined=True,
    ),
    Row("only, of its own choice", [], ONLY, own=ONLY, label="process-audit", allow_unconfined=True),
    Row(
        "only: RuntimeDefault",
        [],
        DEFAULT,
        own=DEFAULT,
        label=ONLY_LABEL,
        allow_unconfined=True,
        warns="its own value, RuntimeDefault, protects more than process-audit-only",
    ),
    Row(
        "only: its pod's RuntimeDefault",
        [],
        DEFAULT,
        pod=DEFAULT,
        label=ONLY_LABEL,
        allow_unconfined=True,
        warns="protects more than process-audit-only",
    ),
    Row(
        "only: privileged",
        [],
        None,
        context=PRIVILEGED,
        label=ONLY_LABEL,
        allow_unconfined=True,
        warns="runs without the audit profile: it is privileged",
    ),
    Row(
        "only, which is not installed",
        [],
        None,
        label=ONLY_LABEL,
        warns="no profile 'process-audit-only'; profiles.allowUnconfined installs it",
    ),
]


def test_the_table_has_the_size_that_its_matter_asks_for() -> None:
    assert len(ROWS) >= 60
    assert len({row.says for row in ROWS}) == len(ROWS)


def profile_of(text: str) -> dict[str, str]:
    return {"type": text} if text in {DEFAULT, UNCONFINED} else {"type": "Localhost", "localhostProfile": text}


def container_of(row: Row) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "c", "image": row.image}
    context = row.context | ({"seccompProfile": profile_of(row.own)} if row.own else {})
    return container | ({"securityContext": context} if context else {})


def policies_of(row: Row) -> Policies:
    labels = {"kubernetes.io/metadata.name": "default"}
    labels |= {"spo.x-k8s.io/enable-binding": ""} if row.opted else {}
    labels |= {"exectrail.io/profile": row.label} if row.label else {}
    return Policies(labels, in_order(row.bindings), PROFILES, row.allow_unconfined)


def decided(review: dict[str, Any], policies: Policies) -> Decision:
    return decide(decode(json.dumps(review).encode()), policies, "exectrail")


def runs_with(spec: dict[str, Any], container: dict[str, Any]) -> str | None:
    """The profile that a kubelet would use."""
    for owner in (container, spec):
        if profile := (owner.get("securityContext") or {}).get("seccompProfile"):
            return profile.get("localhostProfile") or str(profile["type"])
    return None


def check_warnings(row: Row, warnings: list[str]) -> None:
    if row.warns:
        assert row.warns in "\n".join(warnings)
        assert len(warnings) == 1
    else:
        assert warnings == []


@pytest.mark.parametrize("member", ["containers", "initContainers"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.says)
def test_a_container_of_a_new_pod_gets_the_profile_of_the_first_policy_that_applies(
    review: Load, patched: Apply, row: Row, member: str
) -> None:
    spec: dict[str, Any] = {"containers": [], member: [container_of(row)]}
    if row.pod:
        spec["securityContext"] = {"seccompProfile": profile_of(row.pod)}
    asked = review("pod-create", {"spec": spec, "metadata": {"labels": row.labels}})

    decision = decided(asked, policies_of(row))

    after = patched(asked, decision.patch)["spec"]
    assert runs_with(after, after[member][0]) == row.expected
    check_warnings(row, decision.warnings)
    again = decided(review("pod-create", {"spec": after, "metadata": {"labels": row.labels}}), policies_of(row))
    assert again.patch == []
    assert set(again.warnings) <= set(decision.warnings)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.says)
def test_so_does_an_ephemeral_container_and_nothing_else_of_its_pod_changes(
    review: Load, patched: Apply, row: Row
) -> None:
    spec: dict[str, Any] = {"containers": [{"name": "app", "image": "nginx"}]}
    if row.pod:
        spec["securityContext"] = {"seccompProfile": profile_of(row.pod)}
    metadata = {"labels": row.labels}
    before = spec | {"ephemeralContainers": [{"name": "first", "image": "nginx"}]}
    spec = spec | {"ephemeralContainers": [{"name": "first", "image": "nginx"}, container_of(row)]}
    asked = review("ephemeralcontainers", {"spec": spec, "metadata": metadata})
    asked["request"]["oldObject"] = {"spec": before, "metadata": metadata}

    decision = decided(asked, policies_of(row))

    after = patched(asked, decision.patch)["spec"]
    assert runs_with(after, after["ephemeralContainers"][1]) == row.expected
    check_warnings(row, decision.warnings)
    del after["ephemeralContainers"][1]
    assert after == before


MIXED = [
    bind(f"{number}-{image}", image, profile, selector, enforce=enforce)
    for number, (image, profile, selector, enforce) in enumerate(
        itertools.product(["nginx", "nginx:*", f"nginx@{ONE}", "*"], ["a", "gone", "b"], [None, WEB], ["", "true"])
    )
]


@given(
    chosen=st.lists(st.sampled_from(MIXED), unique_by=Binding.rank, max_size=8),
    order=st.randoms(use_true_random=False),
    image=st.sampled_from(["nginx", "nginx:1", f"nginx@{ONE}", "redis"]),
    own=st.sampled_from([None, UNCONFINED, DEFAULT, "mine.json"]),
    labels=st.sampled_from([{}, APP]),
)
def test_the_order_in_which_bindings_are_listed_is_without_meaning(
    review: Load, chosen: list[Binding], order: Any, image: str, own: str | None, labels: dict[str, str]
) -> None:
    row = Row("", chosen, None, image, own, label="process-audit")
    asked = review("pod-create", {"spec": {"containers": [container_of(row)]}, "metadata": {"labels": labels}})
    shuffled = list(chosen)
    order.shuffle(shuffled)

    assert decided(asked, policies_of(msgspec.structs.replace(row, bindings=shuffled))) == decided(
        asked, policies_of(row)
    )


POLICIES = Policies(
    {"spo.x-k8s.io/enable-binding": "", "exectrail.io/profile": "process-audit"},
    in_order([bind("web", "nginx:*", "a"), bind("db", "redis", "gone"), bind("rest", "*", "b", WEB)]),
    PROFILES,
)


def spec_after(review: Load, patched: Apply, spec: dict[str, Any], **labels: str) -> tuple[Decision, dict[str, Any]]:
    asked = review("pod-create", {"spec": spec, "metadata": {"labels": labels}})
    decision = decided(asked, POLICIES)
    after: dict[str, Any] = patched(asked, decision.patch)["spec"]
    return decision, after


def localhost(profile: str) -> dict[str, Any]:
    return {"seccompProfile": {"type": "Localhost", "localhostProfile": profile}}


def test_containers_of_one_pod_get_different_profiles_and_the_pod_gets_that_of_the_rest(
    review: Load, patched: Apply
) -> None:
    spec = {
        "containers": [{"name": "web", "image": "nginx:1"}, {"name": "db", "image": "redis"}],
        "initContainers": [{"name": "init", "image": "busybox"}],
    }

    decision, after = spec_after(review, patched, spec, app="web")

    assert decision.reason == "bound"
    assert after == {
        "containers": [
            {"name": "web", "image": "nginx:1", "securityContext": localhost(path("a"))},
            {"name": "db", "image": "redis"},
        ],
        "initContainers": [{"name": "init", "image": "busybox"}],
        "securityContext": localhost(path("b")),
    }


def test_a_profile_for_an_image_does_not_reach_a_container_that_another_webhook_adds(
    review: Load, patched: Apply
) -> None:
    _, after = spec_after(review, patched, {"containers": [{"name": "web", "image": "nginx:1"}]})
    assert "securityContext" not in after

    proxy = {"name": "proxy", "image": "proxy", "securityContext": ADDS}
    decision, again = spec_after(review, patched, after | {"initContainers": [proxy]})

    assert (decision.reason, decision.patch) == ("bound-in-part", [])
    assert again["initContainers"] == [proxy]


def test_a_container_that_another_webhook_adds_gets_the_profile_of_its_image_beside_that_of_the_pod(
    review: Load, patched: Apply
) -> None:
    _, after = spec_after(review, patched, {"containers": [{"name": "app", "image": "busybox"}]}, app="web")
    assert after["securityContext"] == localhost(path("b"))

    decision, again = spec_after(
        review, patched, after | {"initContainers": [{"name": "proxy", "image": "nginx"}]}, app="web"
    )

    assert (decision.reason, decision.warnings, len(decision.patch)) == ("bound", [], 1)
    assert again["initContainers"][0]["securityContext"] == localhost(path("a"))


def test_a_binding_for_all_leaves_the_built_in_profile_that_a_new_pod_chose_itself(review: Load) -> None:
    spec = {"containers": [{"name": "app", "image": "busybox"}], "securityContext": localhost(SYS_ADMIN)}
    policies = Policies(
        {"spo.x-k8s.io/enable-binding": "", "exectrail.io/profile": "process-audit"}, (bind("x", "*", "a"),), PROFILES
    )

    decision = decided(review("pod-create", {"spec": spec}), policies)

    assert (decision.reason, decision.patch, decision.warnings) == ("bound", [], [])


def many(review: Load, containers: int, **metadata: Any) -> dict[str, Any]:
    listed = [{"name": f"c{number}", "image": "nginx"} for number in range(containers)]
    return review("pod-create", {"spec": {"containers": listed}, "metadata": metadata})


def bound_by(*bindings: Binding) -> Policies:
    return Policies({"spo.x-k8s.io/enable-binding": ""}, in_order(bindings), PROFILES)


@pytest.mark.parametrize(("containers", "reason"), [(250, "profile-not-ready"), (251, "too-large")])
def test_a_pod_with_too_many_containers_for_so_many_bindings_is_admitted_as_it_is(
    review: Load, containers: int, reason: str
) -> None:
    policies = bound_by(*(bind(f"x{number}", "nginx", "gone") for number in range(200)))

    decision = decided(many(review, containers), policies)

    assert (decision.reason, decision.patch) == (reason, [])
    assert ("there is more in it than is read of a pod" in decision.warnings[0]) is (reason == "too-large")


def test_bindings_that_mean_other_pods_or_all_images_do_not_make_a_pod_too_large(review: Load) -> None:
    others = [bind(f"x{number}", "nginx", "a", WEB) for number in range(200)]
    wide = [bind(f"y{number}", "*", "gone") for number in range(200)]

    assert decided(many(review, 1000), bound_by(*others, *wide, bind("z", "nginx", "a"))).reason == "bound"


def test_of_many_notes_only_those_that_are_sent_are_made(review: Load) -> None:
    kinds = (("x", "nginx"), ("y", "*"))
    bindings = [bind(f"{name}{number}", image, "gone") for number in range(5) for name, image in kinds]

    decision, chosen = explained(decode(json.dumps(many(review, 1000)).encode()), bound_by(*bindings))

    assert decision.reason == "profile-not-ready"
    assert "ProfileBinding y4 is passed over" in decision.warnings[4]
    assert "container 'c0' does not get that of ProfileBinding x0" in decision.warnings[5]
    assert decision.warnings[8:] == ["exectrail: 4997 more warnings"]
    assert sum(len(each.choice.notes) for each in chosen) == 3


def test_a_pod_selector_is_read_once_for_a_pod_whatever_it_has_in_it(
    review: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    selects = Binding.selects

    def counted(binding: Binding, labels: dict[str, str]) -> bool:
        read.append(binding.name)
        return selects(binding, labels)

    monkeypatch.setattr(Binding, "selects", counted)

    policies = bound_by(bind("x", "nginx", "a", WEB), bind("y", "*", "b", WEB))
    assert decided(many(review, 100, labels=APP), policies).reason == "bound"
    assert read == ["x", "y"]


def test_a_profile_that_is_not_ready_affects_only_the_containers_that_it_is_for(review: Load, patched: Apply) -> None:
    policies = Policies({"spo.x-k8s.io/enable-binding": ""}, POLICIES.bindings, PROFILES)
    spec = {"containers": [{"name": "web", "image": "nginx"}, {"name": "db", "image": "redis"}]}
    asked = review("pod-create", {"spec": spec})

    decision = decided(asked, policies)

    after = patched(asked, decision.patch)["spec"]["containers"]
    assert decision.reason == "bound-in-part"
    assert after[0]["securityContext"] == localhost(path("a"))
    assert after[1] == {"name": "db", "image": "redis"}
    assert decision.warnings == [
        "exectrail: container 'db' does not get that of ProfileBinding db: there is no SeccompProfile 'gone'"
    ]


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (ADDS, ADDS | {"seccompProfile": {"type": DEFAULT}}),
        (ADDS | localhost("mine.json"), ADDS | localhost("mine.json")),
        (PRIVILEGED, PRIVILEGED),  # runtimes give it no seccomp anyway
        ({}, {}),
    ],
)
def test_an_ephemeral_container_loses_nothing_by_the_audit_profile_of_its_pod(
    review: Load, patched: Apply, context: dict[str, Any], expected: dict[str, Any]
) -> None:
    spec = {
        "securityContext": localhost(AUDIT),
        "containers": [{"name": "app", "image": "busybox"}],
        "ephemeralContainers": [{"name": "debugger", "image": "busybox", "securityContext": context}],
    }
    asked = review("ephemeralcontainers", {"spec": spec, "metadata": {}}, oldObject={"spec": {}})

    after = patched(asked, decided(asked, POLICIES).patch)["spec"]

    assert after["ephemeralContainers"][0]["securityContext"] == expected
    assert after["securityContext"] == localhost(AUDIT)


def test_an_update_without_a_new_ephemeral_container_changes_nothing(review: Load) -> None:
    asked = review("ephemeralcontainers")
    asked["request"]["oldObject"] = asked["request"]["object"]

    assert decided(asked, POLICIES) == Decision("no-new-container")


def test_bindings_that_are_not_known_yet_are_warned_of_and_the_label_still_binds(review: Load, patched: Apply) -> None:
    asked = review("pod-create")

    both = decided(asked, Policies(POLICIES.labels, None))
    alone = decided(asked, Policies({"spo.x-k8s.io/enable-binding": ""}, None))

    warning = "exectrail: the ProfileBindings of namespace default are not known here yet"
    assert (both.reason, both.warnings) == ("bound", [warning])
    assert (alone.reason, alone.patch, alone.warnings) == ("bindings-unknown", [], [warning])


@pytest.mark.parametrize("changes", [{"dryRun": True}, {"name": ""}], ids=["dryRun", "generateName"])
def test_a_pod_without_a_name_and_a_dry_run_are_answered_alike(review: Load, changes: dict[str, Any]) -> None:
    assert decided(review("pod-create", **changes), POLICIES) == decided(review("pod-create"), POLICIES)


_OWN = st.sampled_from([None, UNCONFINED, DEFAULT, "mine.json", AUDIT, path("a"), path("b")])
_CONTAINERS = st.lists(
    st.builds(
        lambda image, own, context: container_of(Row("", [], None, image, own, context=context)),
        st.sampled_from(["nginx", "redis", "busybox"]),
        _OWN,
        st.sampled_from([{}, ADDS, PRIVILEGED]),
    ),
    max_size=3,
)


@given(containers=_CONTAINERS, init=_CONTAINERS, pod=_OWN, labels=st.sampled_from([{}, APP]), added=_CONTAINERS)
def test_a_second_look_changes_only_what_was_added_meanwhile(
    review: Load,
    patched: Apply,
    containers: list[dict[str, Any]],
    init: list[dict[str, Any]],
    pod: str | None,
    labels: dict[str, str],
    added: list[dict[str, Any]],
) -> None:
    # Where a built-in profile is not enough for what was added, it is as if the pod had set none.
    assume(
        pod not in (AUDIT, SYS_ADMIN) or not any(each.get("securityContext", {}).get("capabilities") for each in added)
    )
    spec: dict[str, Any] = {"containers": containers, "initContainers": init}
    if pod:
        spec["securityContext"] = {"seccompProfile": profile_of(pod)}
    _, first = spec_after(review, patched, spec, **labels)

    again, second = spec_after(review, patched, first, **labels)
    assert (again.patch, second) == ([], first)

    _, third = spec_after(review, patched, first | {"initContainers": [*first["initContainers"], *added]}, **labels)
    for before, after in zip(
        [*first["containers"], *first["initContainers"]],
        [*third["containers"], *third["initContainers"]],
        strict=False,
    ):
        assert runs_with(third, after) == runs_with(first, before)
