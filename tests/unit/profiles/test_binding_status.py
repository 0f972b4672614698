"""Which pods a ProfileBinding has bound."""

import pytest
from msgspec import structs

from exectrail.contracts.pod_profiles import Container, PodSpec, PodStatus, SeccompProfile, SecurityContext
from profiles.controller.binding_status import LOCK_FINALIZER, finalizers, status
from profiles.controller.objects import (
    Binding,
    BindingSpec,
    LabelRequirement,
    LabelSelector,
    Meta,
    Pod,
    ProfileRef,
)


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
    return LabelSelector(match_expressions=[LabelRequirement(key, operator, list(values))])


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
        (binding(selector=LabelSelector()), pod(own=uses("audit")), True),
        (binding(selector=LabelSelector({"app": "web"})), pod(own=uses("audit")), True),
        (binding(selector=LabelSelector({"app": "db"})), pod(own=uses("audit")), False),
        (binding(selector=expressed("In", "web", "api")), pod(own=uses("audit")), True),
        (binding(selector=expressed("In", "api")), pod(own=uses("audit")), False),
        (binding(selector=expressed("NotIn", "api")), pod(own=uses("audit")), True),
        (binding(selector=expressed("Exists", key="tier")), pod(own=uses("audit")), False),
        (binding(selector=expressed("DoesNotExist", key="tier")), pod(own=uses("audit")), True),
        (binding(selector=expressed("Like", "w")), pod(own=uses("audit")), False),
    ],
)
def test_a_binding_lists_the_pods_that_it_selects_and_that_have_its_profile(
    bound: Binding, of: Pod, active: bool
) -> None:
    assert status(bound, [of]).active_workloads == (["shop/p"] if active else [])


@pytest.mark.parametrize(("deleted", "kept"), [(None, [LOCK_FINALIZER, "mine"]), ("2026-11-29T01:00:00Z", ["mine"])])
def test_the_operators_lock_never_holds_up_a_deletion(deleted: str | None, kept: list[str]) -> None:
    meta = Meta(name="b", namespace="shop", finalizers=[LOCK_FINALIZER, "mine"], deletion_timestamp=deleted)
    assert finalizers(Binding(meta, binding().spec)) == kept
