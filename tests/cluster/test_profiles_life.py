"""Profiles and bindings on the real node, while pods come and go, and when parts of the product or the cluster fail."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from .cluster import Cluster, eventually
from .node.components import WORKLOAD_IMAGE
from .product import NAMESPACE, RELEASE, Release, may_enter, namespace, pids, pod, restart, webhook_pods
from .sessions import Person, trail
from .test_profiles import FILES, GROUP, LOGGED, NO_MKDIR, binding, chosen, profile, ready, runs

_CONTROLLERS = ("-n", NAMESPACE, "-l", "app.kubernetes.io/component=controller")
_MANY = 20
GHOST = "ghost"
ONLY = "exectrail/process-audit-only.json"


def status_of(admin: Cluster, name: str) -> str:
    return str(admin.get("sp", name).get("status", {}).get("status", ""))


# ---- what a binding says of itself ----


def test_a_binding_of_a_whole_repository_lists_its_pods(admin: Cluster, space: str) -> None:
    every_tag = f"{WORKLOAD_IMAGE.rpartition(':')[0]}:*"
    admin.apply(profile("repository", NO_MKDIR), binding(space, "repository", "repository", every_tag))
    ready(admin, "repository")
    runs(admin, space)

    def active() -> list[str]:
        found = admin.get("profilebinding", "repository", "-n", space).get("status", {})
        return list(found.get("activeWorkloads", []))

    eventually(lambda: active() == [f"{space}/web"])


def test_a_binding_without_its_profile_has_an_event(admin: Cluster, space: str) -> None:
    admin.apply(binding(space, "to-nothing", "nothing"))

    def reasons() -> list[str]:
        events = admin.get("events", "-n", space, "--field-selector=involvedObject.name=to-nothing")["items"]
        return [each["reason"] for each in events]

    eventually(lambda: reasons() == ["ProfileMissing"])
    assert "there is no SeccompProfile 'nothing'" in admin.kubectl("describe", "profilebindings", "-n", space).stdout


# ---- pods that controllers make ----


def workload(space: str, kind: str, name: str, command: str, **spec: Any) -> dict[str, Any]:
    """A Job or StatefulSet of one pod, which has the label `app`."""
    template = {"metadata": {"labels": {"app": name}}, "spec": pod(space)["spec"]}
    template["spec"]["containers"][0]["command"] = ["sh", "-c", command]
    if kind == "Job":
        template["spec"]["restartPolicy"] = "Never"
    return {
        "apiVersion": "batch/v1" if kind == "Job" else "apps/v1",
        "kind": kind,
        "metadata": {"namespace": space, "name": name},
        "spec": {**spec, "template": template},
    }


def test_the_pods_of_a_job_and_of_a_statefulset_have_the_profile_and_are_recorded(admin: Cluster, space: str) -> None:
    admin.apply(profile("for-all", LOGGED), binding(space, "for-all", "for-all"))
    ready(admin, "for-all")
    selected = {"selector": {"matchLabels": {"app": "kept"}}, "serviceName": "kept"}
    # That a user's profile logs is known from a container's first events.
    admin.apply(
        workload(space, "Job", "once", "sleep 2; id --user; sleep 3", backoffLimit=0),
        workload(space, "StatefulSet", "kept", "sleep 2; id --user; exec sleep infinity", **selected),
    )
    admin.kubectl("wait", "-n", space, "job/once", "--for=condition=complete", "--timeout=90s")
    admin.kubectl("rollout", "status", "-n", space, "statefulset/kept", "--timeout=90s")

    for app in ("once", "kept"):
        (made,) = admin.get("pods", "-n", space, "-l", f"app={app}")["items"]
        name = made["metadata"]["name"]
        assert chosen(admin, space, name) == {"operator/for-all.json"}

        def sources(of: str = name) -> set[str | None]:
            mine = [each for each in trail() if each.resource and each.resource.pod == of]
            return {each.source for each in mine if each.kind == "exec" and each.argv == ["id", "--user"]}

        eventually(lambda of=sources: of() == {"bpf+netlink"})  # type: ignore[misc]


# ---- when the controller fails ----


def leader(admin: Cluster) -> str:
    return str(admin.get("lease", "exectrail-controller", "-n", NAMESPACE)["spec"].get("holderIdentity") or "")


def ready_controllers(admin: Cluster) -> set[str]:
    """Those that are not being deleted."""
    return {
        each["metadata"]["name"]
        for each in admin.get("pods", *_CONTROLLERS)["items"]
        if "deletionTimestamp" not in each["metadata"]
        and any((said["type"], said["status"]) == ("Ready", "True") for said in each["status"].get("conditions", []))
    }


@pytest.mark.values("controller.replicas=2")
def test_of_two_controllers_one_leads_and_the_other_takes_over(admin: Cluster, space: str) -> None:
    eventually(lambda: len(ready_controllers(admin)) == 2)
    # The lease may name one that the release had with other values, until it runs out.
    first = next(iter(eventually(lambda: ready_controllers(admin) & {leader(admin)}, 60)))
    admin.apply(profile("before", NO_MKDIR))
    ready(admin, "before")

    admin.kubectl("delete", "pod", "-n", NAMESPACE, first, "--force", "--grace-period=0")
    eventually(lambda: leader(admin) not in ("", first), 60)
    admin.apply(profile("after", NO_MKDIR))
    ready(admin, "after")

    assert (FILES / "after.json").exists()
    eventually(lambda: len(ready_controllers(admin)) == 2, 60)


def kill_controller() -> None:
    """End the controller without a word; the kubelet starts it again."""
    before = set(pids("profiles.controller"))
    assert before, "no controller runs"
    for pid in before:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: not before & set(pids("profiles.controller")))


def test_a_controller_that_is_killed_goes_on_with_what_it_had_begun(admin: Cluster, space: str) -> None:
    admin.apply(*(profile(f"many-{number}", NO_MKDIR) for number in range(_MANY)))
    kill_controller()  # the first ones are installed by now, the last ones are not

    admin.kubectl("wait", "sp", "--all", "--for=condition=ready", "--timeout=120s")
    assert all((FILES / f"many-{number}.json").exists() for number in range(_MANY))


def test_a_deletion_that_waits_is_released_by_a_controller_that_was_killed_meanwhile(
    admin: Cluster, space: str
) -> None:
    admin.apply(profile("held", NO_MKDIR), binding(space, "held", "held"))
    ready(admin, "held")
    runs(admin, space)
    eventually(lambda: admin.get("sp", "held")["metadata"].get("finalizers"))
    admin.kubectl("delete", "sp", "held", "--wait=false")
    eventually(lambda: status_of(admin, "held") == "Terminating")

    kill_controller()
    admin.kubectl("delete", "pod", "-n", space, "web", "--now")

    admin.kubectl("wait", "sp/held", "--for=delete", "--timeout=120s")
    eventually(lambda: not (FILES / "held.json").exists())


# ---- when a node goes ----


@pytest.fixture
def ghost(admin: Cluster) -> Iterator[str]:
    """A node without a kubelet, and a pod of the installer's DaemonSet on it, so that it counts."""
    # It lacks the label that DaemonSets select: they make no pods for it.
    admin.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": GHOST}})
    daemonset = admin.get("daemonset", "exectrail-node", "-n", NAMESPACE)
    owner = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "name": daemonset["metadata"]["name"],
        "uid": daemonset["metadata"]["uid"],
    }
    installer = pod(NAMESPACE, "installer-on-ghost", nodeName=GHOST)
    installer["metadata"]["ownerReferences"] = [owner]
    admin.apply(installer)
    yield GHOST
    admin.kubectl("delete", "node", GHOST, "--ignore-not-found")
    options = ("--ignore-not-found", "--force", "--grace-period=0", "--wait=false")
    admin.kubectl("delete", "pod", "-n", NAMESPACE, "installer-on-ghost", *options)


def say(admin: Cluster, name: str, node: str, state: str) -> None:
    """Say of a profile what the installer on a node would."""
    labels = {"profile-id": f"SeccompProfile-{name}", "node-name": node, "profile-kind": "SeccompProfile"}
    uid = admin.get("sp", name)["metadata"]["uid"]
    owner = {"apiVersion": f"{GROUP}/v1", "kind": "SeccompProfile", "name": name, "uid": uid}
    status = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "SecurityProfileNodeStatus",
        "metadata": {
            "name": f"{name}-{node}",
            "labels": {f"spo.x-k8s.io/{key}": value for key, value in labels.items()},
            "ownerReferences": [owner],
        },
        "spec": {"nodeName": node},
    }
    admin.apply(status)
    patch = json.dumps({"status": {"status": state}})
    admin.kubectl("patch", "spns", f"{name}-{node}", "--subresource=status", "--type=merge", "-p", patch)


def test_what_a_node_said_counts_no_more_when_it_is_gone_and_is_cleaned_up(
    admin: Cluster, space: str, ghost: str
) -> None:
    admin.apply(profile("two-nodes", NO_MKDIR))
    say(admin, "two-nodes", ghost, "Error")
    eventually(lambda: status_of(admin, "two-nodes") == "Error")

    admin.kubectl("delete", "node", ghost)

    ready(admin, "two-nodes")
    eventually(lambda: "not found" in admin.kubectl("get", "spns", f"two-nodes-{ghost}", check=False).stderr.lower())


# ---- when the release changes ----


def test_after_a_rollback_containers_with_a_users_profile_restart_and_new_pods_get_it(
    release: Release, admin: Cluster, space: str
) -> None:
    admin.apply(profile("rolled", NO_MKDIR), binding(space, "rolled", "rolled"))
    ready(admin, "rolled")
    runs(admin, space)
    history = json.loads(admin.helm("history", RELEASE, "-n", NAMESPACE, "-o", "json").stdout)
    try:
        release.with_values("logLevel=debug")
        target = ("-n", NAMESPACE, "--wait", "--timeout", "120s")
        admin.helm("rollback", RELEASE, str(history[-1]["revision"]), *target)

        restart(admin, space)
        runs(admin, space, "later")
    finally:
        release.with_values()  # what it is to have by now is what the rollback gave it

    assert chosen(admin, space) == chosen(admin, space, "later") == {"operator/rolled.json"}
    refused = admin.kubectl("exec", "-n", space, "web", "--", "mkdir", "/tmp/made", check=False)
    assert "Operation not permitted" in refused.stderr


# ---- the profile that refuses nothing ----


@pytest.fixture
def loose(admin: Cluster) -> Iterator[str]:
    """A namespace whose label asks for it; alice may make pods there."""
    yield from _namespace(admin, "loose", profile="process-audit-only")


@pytest.fixture
def strict(admin: Cluster) -> Iterator[str]:
    """A namespace without a label; alice may make pods there."""
    yield from _namespace(admin, "strict")


def _namespace(admin: Cluster, name: str, **labels: str) -> Iterator[str]:
    admin.kubectl("delete", "namespace", name, "--ignore-not-found")  # that of the test before may be on its way out
    role, to_alice = may_enter(name)
    role["rules"].append({"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "delete"]})
    admin.apply(namespace(name, **labels), role, to_alice)
    admin.kubectl("wait", "-n", name, "--for=create", "serviceaccount/default", "--timeout=120s")
    yield name
    admin.kubectl("delete", "namespace", name, "--wait=false")
    admin.kubectl("delete", "pod", "--all", "-n", name, "--now")


def may_use_it(space: str, subject: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The right to name the profile, as docs/tasks/profiles.md has it."""
    api, meta = "rbac.authorization.k8s.io", {"namespace": space, "name": "unconfined"}
    rule = {
        "apiGroups": ["exectrail.io"],
        "resources": ["builtinprofiles"],
        "resourceNames": ["process-audit-only"],
        "verbs": ["use"],
    }
    role = {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": meta, "rules": [rule]}
    ref = {"apiGroup": api, "kind": "Role", "name": "unconfined"}
    return role, {
        "apiVersion": f"{api}/v1",
        "kind": "RoleBinding",
        "metadata": meta,
        "roleRef": ref,
        "subjects": [subject],
    }


def refusal(alice: Person, made: dict[str, Any]) -> str:
    """What the API server has against alice making a pod; nothing where it obeys."""
    dry = ("create", "--dry-run=server", "-f", "-")
    return alice.cluster.kubectl(*dry, stdin=json.dumps(made), check=False).stderr


@pytest.mark.values("profiles.allowUnconfined=true")
def test_the_profile_that_refuses_nothing_logs_containers_that_are_unconfined(alice: Person, loose: str) -> None:
    admin = alice.admin
    unconfined = {"seccompProfile": {"type": "Unconfined"}}
    eventually(lambda: Path(FILES.parent, ONLY).exists())
    eventually(lambda: webhook_pods(admin, ending=True) == [])  # they answer on while they end
    admin.apply(pod(loose, "web", securityContext=unconfined))
    admin.kubectl("wait", "-n", loose, "pod/web", "--for=condition=Ready", "--timeout=60s")
    assert chosen(admin, loose) == {ONLY}

    _, records = alice.executes(loose, "sh", "-c", "id; true")

    assert {each.source for each in records if each.kind == "exec"} == {"bpf+netlink"}


@pytest.mark.values("profiles.allowUnconfined=true")
@pytest.mark.parametrize("who", ["the user", "the pod's account"])
def test_only_those_with_the_right_name_the_profile_that_refuses_nothing(
    release: Release, alice: Person, strict: str, who: str
) -> None:
    named = pod(strict, "named", securityContext={"seccompProfile": {"type": "Localhost", "localhostProfile": ONLY}})
    eventually(lambda: "the profile process-audit-only refuses nothing" in refusal(alice, named))
    assert refusal(alice, pod(strict, "other")) == ""
    user = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}
    account = {"kind": "ServiceAccount", "name": "default", "namespace": strict}

    right = may_use_it(strict, user if who == "the user" else account)
    alice.admin.apply(*right)
    eventually(lambda: refusal(alice, named) == "")

    # The nodes keep the file when it is no longer allowed: so does the policy.
    release.with_values()
    alice.admin.kubectl("delete", "rolebinding", "unconfined", "-n", strict)
    eventually(lambda: "the profile process-audit-only refuses nothing" in refusal(alice, named))
