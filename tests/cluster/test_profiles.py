"""The Security Profiles Operator's objects on the real node: profiles and bindings, through their whole life."""

import json
from pathlib import Path
from typing import Any

import pytest

from .cluster import Cluster, eventually
from .node.components import WORKLOAD_IMAGE
from .product import pod
from .sessions import Person

GROUP = "security-profiles-operator.x-k8s.io"
FILES = Path("/var/lib/kubelet/seccomp/operator")
LOGGED = {"names": ["execve", "execveat", "clone", "clone3", "fork", "vfork"], "action": "SCMP_ACT_LOG"}
NO_MKDIR = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}


def profile(name: str, *syscalls: dict[str, Any], version: str = "v1beta1", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/{version}",
        "kind": "SeccompProfile",
        "metadata": {"name": name},
        "spec": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": list(syscalls), **spec},
    }


def binding(space: str, name: str, of: str, image: str = "*", version: str = "v1alpha1") -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/{version}",
        "kind": "ProfileBinding",
        "metadata": {"name": name, "namespace": space},
        "spec": {"profileRef": {"kind": "SeccompProfile", "name": of}, "image": image},
    }


def ready(admin: Cluster, name: str) -> None:
    admin.kubectl("wait", f"sp/{name}", "--for=condition=ready", "--timeout=60s")


def runs(admin: Cluster, space: str, name: str = "web") -> None:
    admin.apply(pod(space, name))
    admin.kubectl("wait", "-n", space, f"pod/{name}", "--for=condition=Ready", "--timeout=60s")


def chosen(admin: Cluster, space: str, name: str = "web") -> set[str | None]:
    """The profiles that a pod's containers run with."""
    spec = admin.get("pod", name, "-n", space)["spec"]

    def of(owner: dict[str, Any]) -> str | None:
        found: dict[str, str] = (owner.get("securityContext") or {}).get("seccompProfile", {})
        return found.get("localhostProfile")

    return {of(each) or of(spec) for each in spec["containers"]}


def test_the_operators_guide_to_audit_logging_works_step_by_step(alice: Person, space: str) -> None:
    admin = alice.admin
    admin.apply(profile("audit-exec", LOGGED, architectures=["SCMP_ARCH_X86_64"]))
    admin.apply(binding(space, "audit-exec", "audit-exec"))
    ready(admin, "audit-exec")
    runs(admin, space)
    assert chosen(admin, space) == {"operator/audit-exec.json"}

    _, records = alice.executes(space, "sh", "-c", "id; exit 3", code=3)

    ran = [each for each in records if each.kind == "exec"]
    assert [(each.argv or [""])[0] for each in ran] == ["env", "sh", "id"]
    assert {(each.user, each.source) for each in ran} == {("alice", "bpf+netlink")}
    assert {tuple(each.syscalls or ()) for each in ran} == {("execve",)}
    assert [each.exit.code for each in records if each.phase == "end" and each.exit] == [3]


def test_what_a_profile_refuses_fails_and_an_update_reaches_the_node_and_new_pods(admin: Cluster, space: str) -> None:
    admin.apply(profile("no-mkdir", NO_MKDIR), binding(space, "no-mkdir", "no-mkdir"))
    ready(admin, "no-mkdir")
    runs(admin, space)
    refused = admin.kubectl("exec", "-n", space, "web", "--", "mkdir", "/tmp/made", check=False)
    assert "Operation not permitted" in refused.stderr

    admin.apply(profile("no-mkdir"))
    eventually(lambda: "mkdir" not in (FILES / "no-mkdir.json").read_text())
    runs(admin, space, "later")

    assert admin.kubectl("exec", "-n", space, "later", "--", "mkdir", "/tmp/made").returncode == 0


def test_a_base_is_merged_in_and_its_log_rule_survives(alice: Person, space: str) -> None:
    admin = alice.admin
    admin.apply(profile("base", LOGGED))
    allows = {"names": ["execve"], "action": "SCMP_ACT_ALLOW"}
    admin.apply(profile("derived", allows, NO_MKDIR, baseProfileName="base", version="v1"))
    admin.apply(binding(space, "derived", "derived", WORKLOAD_IMAGE, version="v1"))
    ready(admin, "derived")
    runs(admin, space)

    _, records = alice.executes(space, "sh", "-c", "mkdir /tmp/made", code=1)

    assert {each.source for each in records if each.kind == "exec"} == {"bpf+netlink"}


def test_a_profile_in_use_stays_until_its_last_pod_is_gone(admin: Cluster, space: str) -> None:
    admin.apply(profile("held", NO_MKDIR), binding(space, "held", "held"))
    ready(admin, "held")
    runs(admin, space)
    eventually(lambda: f"{space}/web" in admin.get("sp", "held")["status"].get("activeWorkloads", []))

    admin.kubectl("delete", "sp", "held", "--wait=false")

    def reported() -> bool:
        events = admin.get("events", "-A", "--field-selector=involvedObject.name=held")["items"]
        return any(f"{space}/web" in each["message"] for each in events)

    eventually(reported)
    assert admin.get("sp", "held")["metadata"]["deletionTimestamp"]
    assert (FILES / "held.json").exists()

    admin.kubectl("delete", "pod", "-n", space, "web", "--now")
    admin.kubectl("wait", "sp/held", "--for=delete", "--timeout=30s")
    eventually(lambda: not (FILES / "held.json").exists())


def test_a_disabled_profile_stays_on_the_node_while_a_pod_names_it(admin: Cluster, space: str) -> None:
    admin.apply(profile("off", NO_MKDIR), binding(space, "off", "off"))
    ready(admin, "off")
    runs(admin, space)

    admin.apply(profile("off", NO_MKDIR, state="Disabled"))
    eventually(lambda: admin.get("sp", "off")["status"]["status"] == "Disabled")
    assert (FILES / "off.json").exists()

    admin.kubectl("delete", "pod", "-n", space, "web", "--now")
    eventually(lambda: not (FILES / "off.json").exists())


def test_a_binding_without_its_profile_holds_up_no_pod(admin: Cluster, space: str) -> None:
    admin.apply(binding(space, "to-nothing", "nothing"))
    eventually(lambda: "nothing" in admin.kubectl("apply", "-f", "-", stdin=json.dumps(pod(space))).stderr)

    admin.kubectl("wait", "-n", space, "pod/web", "--for=condition=Ready", "--timeout=60s")
    assert chosen(admin, space) == {None}


def test_of_several_bindings_the_one_that_names_the_image_counts(admin: Cluster, space: str) -> None:
    admin.apply(profile("for-all"), profile("for-image"))
    admin.apply(binding(space, "a-for-all", "for-all"), binding(space, "z-for-image", "for-image", WORKLOAD_IMAGE))
    ready(admin, "for-all")
    ready(admin, "for-image")
    runs(admin, space)

    assert chosen(admin, space) == {"operator/for-image.json"}


@pytest.mark.parametrize(
    ("spec", "named"),
    [({"baseProfileName": "no-such-base"}, "no-such-base"), ({"baseProfileName": "oci://ghcr.io/x/y"}, "oci://")],
    ids=["a missing base", "an OCI artifact"],
)
def test_a_profile_that_cannot_be_installed_says_why_and_the_others_are(
    admin: Cluster, space: str, spec: dict[str, Any], named: str
) -> None:
    mistaken = {"names": ["no_such_call"], "action": "SCMP_ACT_ALLOW"}
    admin.apply(profile("broken", **spec), profile("whole", mistaken))

    ready(admin, "whole")
    conditions = admin.get("sp", "whole")["status"]["conditions"]
    assert [each["type"] for each in conditions if "no_such_call" in each["message"]] == ["UnknownSyscalls"]

    def said() -> bool:
        status = admin.get("sp", "broken").get("status", {})
        return status.get("status") == "Error" and named in str(status["conditions"])

    eventually(said)
    assert not (FILES / "broken.json").exists()
