"""Which pods a ProfileBinding has bound, and what keeps it from binding any."""

from typing import Any

import msgspec
import pytest
from msgspec import structs

from exectrail.contracts import spo
from exectrail.contracts.images import image_of
from exectrail.contracts.label_selector import LabelSelector, Requirement
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.pod_profiles import Container, PodSpec, PodStatus, SeccompProfile, SecurityContext
from profiles.controller import objects
from profiles.controller.binding_status import LOCK_FINALIZER, finalizers, problem, status
from profiles.controller.objects import (
    Binding,
    BindingSpec,
    Meta,
    Pod,
    Profile,
    ProfileRef,
)
from webhook.reviews.profile_bindings import (
    Policies,
    ProfileBinding,
    ProfileStatus,
    binding_of,
    localhost_profile,
)
from webhook.reviews.profile_bindings import SeccompProfile as Installed
from webhook.reviews.profile_choice import Capabilities, choose, wide
from webhook.reviews.profile_choice import Container as Asked

DIGEST = f"sha256:{'a' * 64}"


def uses(name: str) -> SecurityContext:
    return SecurityContext(SeccompProfile(f"operator/{name}.json"))


def pod(
    image: str = "nginx",
    *,
    whole: SecurityContext | None = None,
    own: SecurityContext | None = None,
    where: str = "containers",
    phase: str = "Running",
) -> Pod:
    meta = Meta(name="p", namespace="shop", uid="u", labels={"app": "web"})
    spec = structs.replace(PodSpec(security_context=whole), **{where: [Container(image, own)]})
    return Pod(meta, spec, PodStatus(phase))


def binding(image: str = "*", selector: LabelSelector | None = None, kind: str = "SeccompProfile") -> Binding:
    return Binding(Meta(name="b", namespace="shop"), BindingSpec(ProfileRef(kind, "audit"), image, selector))


def expressed(operator: str, *values: str, key: str = "app") -> LabelSelector:
    return LabelSelector(match_expressions=[Requirement(key, operator, list(values))])


@pytest.mark.parametrize(
    ("bound", "of", "active"),
    [
        (binding(), pod(whole=uses("audit")), True),
        (binding(), pod(own=uses("audit")), True),
        (binding(), pod(own=uses("audit"), where="init_containers"), True),
        (binding(), pod(own=uses("audit"), where="ephemeral_containers"), True),
        (binding(), pod(own=uses("other")), False),
        (binding(), pod(), False),
        (binding(), pod(own=uses("audit"), phase="Succeeded"), False),
        (binding(kind="AppArmorProfile"), pod(own=uses("audit")), False),
        (binding("nginx"), pod("docker.io/library/nginx:latest", own=uses("audit")), True),
        (binding("docker.io/library/nginx"), pod("nginx:latest", whole=uses("audit")), True),
        (binding("localhost:5000/nginx"), pod("nginx", own=uses("audit")), False),
        (binding("team/nginx"), pod("docker.io/team/nginx:latest", own=uses("audit")), True),
        (binding("nginx:1"), pod("nginx:2", own=uses("audit")), False),
        (binding("nginx"), pod("nginx", whole=uses("audit"), own=uses("other")), False),
        (binding("nginx:*"), pod("nginx:2", own=uses("audit")), True),
        (binding("nginx:*"), pod(f"docker.io/library/nginx@{DIGEST}", own=uses("audit")), True),
        (binding("nginx:*"), pod("httpd", own=uses("audit")), False),
        (binding(f"nginx@{DIGEST}"), pod(f"nginx:1@{DIGEST}", own=uses("audit")), True),
        (binding(f"nginx@{DIGEST}"), pod("nginx:1", own=uses("audit")), False),
        (binding("nginx:1"), pod(f"nginx:1@{DIGEST}", own=uses("audit")), True),
        (binding("index.docker.io/nginx"), pod("nginx", own=uses("audit")), True),
        (binding(selector=LabelSelector()), pod(own=uses("audit")), True),
        (binding(selector=LabelSelector({"app": "web"})), pod(own=uses("audit")), True),
        (binding(selector=LabelSelector({"app": "db"})), pod(own=uses("audit")), False),
        (binding(selector=expressed("In", "web", "api")), pod(own=uses("audit")), True),
        (binding(selector=expressed("In", "api")), pod(own=uses("audit")), False),
        (binding(selector=expressed("NotIn", "api")), pod(own=uses("audit")), True),
        (binding(selector=expressed("Exists", key="tier")), pod(own=uses("audit")), False),
        (binding(selector=expressed("DoesNotExist", key="tier")), pod(own=uses("audit")), True),
        # A selector with a mistake means no pod.
        (binding(selector=expressed("Like", "w")), pod(own=uses("audit")), False),
        (binding(selector=expressed("NotIn")), pod(own=uses("audit")), False),
        (binding(selector=expressed("Exists", "web")), pod(own=uses("audit")), False),
    ],
)
def test_a_binding_lists_the_pods_that_it_selects_and_that_have_its_profile(
    bound: Binding, of: Pod, active: bool
) -> None:
    assert status(bound, [of]).active_workloads == (["shop/p"] if active else [])


IMAGES = ["nginx", "nginx:1", f"nginx@{DIGEST}", f"docker.io/library/nginx:1@{DIGEST}", "localhost:5000/nginx", "a/b"]
SELECTORS: list[dict[str, Any] | None] = [
    None,
    {},
    {"matchLabels": {"app": "web"}},
    {"matchLabels": {"app": "db"}},
    {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]},
    {"matchExpressions": [{"key": "app", "operator": "NotIn"}]},
]


@pytest.mark.parametrize("selector", SELECTORS, ids=str)
@pytest.mark.parametrize("of", ["*", "nginx:*", *IMAGES])
@pytest.mark.parametrize("image", IMAGES)
def test_a_binding_lists_a_pod_with_its_profile_if_the_webhook_would_bind_it(
    image: str, of: str, selector: dict[str, Any] | None
) -> None:
    made = {
        "metadata": {"name": "b", "namespace": "shop"},
        "spec": {"image": of, "profileRef": {"kind": "SeccompProfile", "name": "audit"}, "podSelector": selector},
    }
    labels, installed = {"app": "web"}, ProfileStatus("Installed", "operator/audit.json")
    asked = binding_of(msgspec.convert(made, ProfileBinding))
    assert asked
    policies = Policies({spo.BINDING_LABEL: ""}, (asked,), {"audit": Installed(ObjectMeta(name="audit"), installed)})
    choice = choose(Asked("c", image_of(image), None, Capabilities(), False), wide(policies, labels), policies)

    active = status(msgspec.convert(made, Binding), [pod(image, own=uses("audit"))]).active_workloads

    assert bool(active) is (choice.outcome == "bound")


WITHOUT = "new containers that this binding matches start without it"


@pytest.mark.parametrize(
    ("bound", "state", "expected"),
    [
        (binding(), "Installed", None),
        (
            binding(),
            None,
            (
                f"Warning ProfileMissing: there is no SeccompProfile 'audit': {WITHOUT}; create it, or correct "
                "profileRef.name"
            ),
        ),
        *(
            (
                binding(),
                state,
                f"Normal ProfileNotReady: SeccompProfile 'audit' is not on all nodes yet: until then {WITHOUT}",
            )
            for state in ("", "Pending", "InProgress")
        ),
        *(
            (
                binding(),
                state,
                f"Warning ProfileNotReady: SeccompProfile 'audit' is in state {state}: {WITHOUT}; see its conditions",
            )
            for state in ("Error", "Terminating", "Partial", "Disabled")
        ),
        (
            binding(kind="AppArmorProfile"),
            "Installed",
            "Warning UnsupportedKind: profileRef.kind 'AppArmorProfile' is not supported: set it to SeccompProfile",
        ),
        (
            binding(selector=expressed("In")),
            "Installed",
            "Warning InvalidPodSelector: podSelector matches no pod: matchExpressions: In on 'app' needs values",
        ),
    ],
)
def test_what_keeps_a_binding_from_giving_its_profile_is_told(
    bound: Binding, state: str | None, expected: str | None
) -> None:
    profile = None if state is None else Profile(Meta(name="audit"), objects.ProfileStatus(state))

    event = problem(bound, profile)

    assert (event and f"{event.type} {event.reason}: {event.message}") == expected


@pytest.mark.parametrize(
    ("state", "available", "binds"),
    [
        ("Installed", None, True),
        ("Error", None, False),
        ("Pending", None, False),
        ("Error", "True", True),
        ("Pending", "True", True),
        ("Error", "False", False),
        ("Installed", "False", True),  # as the operator leaves it, which knows of no such condition
    ],
)
def test_a_binding_has_no_problem_where_the_webhook_binds_its_profile(
    state: str, available: str | None, binds: bool
) -> None:
    conditions = [] if available is None else [objects.Condition("Available", available)]
    written = objects.ProfileStatus(state, "operator/audit.json", conditions=conditions)
    read = msgspec.convert(msgspec.to_builtins(written), ProfileStatus)

    event = problem(binding(), Profile(Meta(name="audit"), written))
    path, why = localhost_profile("audit", {"audit": Installed(ObjectMeta(name="audit"), read)})

    assert (event is None, why is None, bool(path)) == (binds, binds, binds)


def test_a_binding_that_is_deleted_has_no_problem() -> None:
    gone = structs.replace(binding(), metadata=Meta(name="b", deletion_timestamp="2026-11-29T01:00:00Z"))
    assert problem(gone, None) is None


@pytest.mark.parametrize(("deleted", "kept"), [(None, [LOCK_FINALIZER, "mine"]), ("2026-11-29T01:00:00Z", ["mine"])])
def test_the_operators_lock_never_holds_up_a_deletion(deleted: str | None, kept: list[str]) -> None:
    meta = Meta(name="b", namespace="shop", finalizers=[LOCK_FINALIZER, "mine"], deletion_timestamp=deleted)
    assert finalizers(Binding(meta, binding().spec)) == kept
