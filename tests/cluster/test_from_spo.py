"""Coming from the Security Profiles Operator: its examples, its audit-logging guide, its own definitions."""

import json
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from . import operator_module
from .cluster import Cluster, eventually
from .node.paths import REPOSITORY
from .product import NAMESPACE, RELEASE, TRAIL, install, may_enter, namespace
from .sessions import Person, enter_by_the_runtime, trail
from .test_profiles import GROUP, binding, profile, ready, runs

KINDS = ("seccompprofiles", "profilebindings", "securityprofilenodestatuses", "securityprofilesoperatordaemons")
DEFINITIONS = [f"{kind}.{GROUP}" for kind in KINDS]


@pytest.fixture
def space(admin: Cluster) -> Iterator[str]:
    """A namespace as the guide wants it; it goes with all that a test applied."""
    name = f"guided-{uuid.uuid4().hex[:6]}"
    admin.apply(namespace(name), *may_enter(name))
    admin.kubectl("wait", "-n", name, "--for=create", "serviceaccount/default", "--timeout=120s")
    admin.kubectl("label", "ns", name, "spo.x-k8s.io/enable-binding=true")
    yield name
    admin.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")
    admin.kubectl("delete", "pod", "--all", "-n", name, "--now", "--ignore-not-found")
    admin.kubectl("delete", "sp", "--all", "--timeout=60s", check=False)  # its definition may be gone as well


@pytest.mark.usefixtures("space")
def test_each_example_profile_of_the_operator_ends_installed(admin: Cluster) -> None:
    examples = operator_module.examples("SeccompProfile")
    assert len(examples) > 5
    admin.apply(*examples)

    def status(name: str) -> tuple[str, str]:
        found = admin.get("sp", name).get("status", {})
        return found.get("status", ""), found.get("localhostProfile", "")

    for each in examples:
        name = each["metadata"]["name"]
        base = each["spec"].get("baseProfileName", "")
        if base.startswith("oci://"):
            eventually(lambda name=name: status(name)[0] == "Error")  # type: ignore[misc]
        else:
            ready(admin, name)
            assert status(name) == ("Installed", f"operator/{name}.json")


def test_each_example_binding_of_the_operator_applies(admin: Cluster, space: str) -> None:
    examples = operator_module.examples("ProfileBinding")
    assert examples

    admin.apply(*[{**each, "metadata": {**each["metadata"], "namespace": space}} for each in examples])

    listed = admin.get("profilebindings", "-n", space)["items"]
    assert {each["metadata"]["name"] for each in listed} == {each["metadata"]["name"] for each in examples}


def test_the_operators_guide_with_its_own_commands(alice: Person, space: str) -> None:
    """Steps 3 to 7 of its audit-logging guide, in the release's namespace, on its flat `spod`."""
    admin = alice.admin
    options = {"auditLogIntervalSeconds": 20, "auditLogPath": TRAIL, "auditLogMaxSize": 500}
    filters = [
        {"priority": 100, "level": "Metadata", "matchKeys": ["requestUID"]},
        {"priority": 999, "level": "None", "matchKeys": ["version"], "matchValues": ["spo/v1_alpha"]},
    ]
    wanted = {"enableJsonEnricher": True, "verbosity": 0, "jsonEnricherOptions": options}
    patch = {"spec": {**wanted, "jsonEnricherFilters": json.dumps(filters)}}
    with _patched(admin, space, patch):
        _follows_the_guide(alice, space)


@contextmanager
def _patched(admin: Cluster, space: str, patch: dict[str, Any]) -> Iterator[None]:
    """Have `spod` so, and afterwards the enricher without its filters again: they drop what other tests look for."""
    admin.kubectl("-n", NAMESPACE, "patch", "spod", "spod", "--type=merge", "-p", json.dumps(patch))
    try:
        yield
    finally:
        unset = {"spec": dict.fromkeys(patch["spec"])}
        admin.kubectl("-n", NAMESPACE, "patch", "spod", "spod", "--type=merge", "-p", json.dumps(unset))
        # The kubelet brings a changed ConfigMap within a minute, or when the pod changes.
        eventually(lambda: not admin.get("configmap", "exectrail-spod", "-n", NAMESPACE).get("data"))
        enrichers = ("pod", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=enricher")
        admin.kubectl("annotate", *enrichers, f"look={uuid.uuid4()}", "--overwrite")
        words: list[str] = []

        def recorded() -> bool:
            """Whether what has no request is in the trail: the guide's filters drop it."""
            words.append(uuid.uuid4().hex)
            enter_by_the_runtime(admin, space, "true", words[-1])
            return any(each in words for record in trail() for each in record.argv or ())

        eventually(recorded, 120, every=1)


def _follows_the_guide(alice: Person, space: str) -> None:
    admin = alice.admin
    logged = {"action": "SCMP_ACT_LOG", "names": ["execve", "clone", "fork", "execveat"]}
    admin.apply(profile("profile1", logged, version="v1"))
    admin.apply(binding(space, "all-pod-binding", "profile1", version="v1"))
    ready(admin, "profile1")
    runs(admin, space)

    uid, records = alice.executes(space, "sh", "-c", "touch /tmp/demo-file")

    line = next(each for each in _lines(uid) if each.get("cmdLine", "").startswith("touch"))
    assert line["version"] == "spo/v1_alpha"
    assert line["resource"] == {"namespace": space, "pod": "web", "container": "app"}
    assert (line["requestUID"], line["user"], line["syscalls"]) == (uid, "alice", ["execve"])
    assert {"auditID", "timestamp", "node", "pid", "uid", "gid", "executable"} <= line.keys()
    assert [each.exit.code for each in records if each.phase == "end" and each.exit] == [0]


def _lines(uid: str) -> list[dict[str, Any]]:
    """The session's lines, as `grep` would show them."""

    def found() -> list[dict[str, Any]]:
        whole = Path(TRAIL).read_text().rpartition("\n")[0]
        lines = [json.loads(line) for line in whole.splitlines() if uid in line]
        return lines if any("touch" in each.get("cmdLine", "") for each in lines) else []

    return eventually(found)


@pytest.mark.values(None)
def test_where_the_operator_was_its_definitions_stay_and_work(alice: Person, space: str) -> None:
    """As docs/tasks/from-spo.md has it, by its own commands; the operator's server of conversions is gone."""
    admin = alice.admin
    admin.kubectl("delete", "crd", *DEFINITIONS, "--ignore-not-found", "--timeout=60s")
    admin.run("kubectl", "apply", "--server-side", "-f", "-", stdin=_list(operator_module.definitions()))
    try:
        install(admin, "crds.enabled=true")
        notes = admin.helm("get", "notes", RELEASE, "-n", NAMESPACE).stdout
        assert all(f"kubectl patch crd {each}" in notes for each in DEFINITIONS)
        assert _conversions(admin) == {"Webhook"}

        admin.run("sh", "-ec", _documented("for kind in"))
        assert _conversions(admin) == {"None"}

        admin.apply(profile("kept", {"action": "SCMP_ACT_LOG", "names": ["execve"]}, version="v1"))
        admin.apply(binding(space, "kept", "kept", version="v1alpha1"))
        admin.run("sh", "-ec", _documented("kubectl wait --for=condition=ready sp"))
        runs(admin, space)
        _, records = alice.executes(space, "true")
        assert "bpf+netlink" in {each.source for each in records if each.kind == "exec"}
    finally:
        admin.kubectl("delete", "pod", "--all", "-n", space, "--now")
        admin.kubectl("delete", "sp", "--all", "--timeout=60s")
        admin.helm("uninstall", RELEASE, "-n", NAMESPACE, "--wait", "--ignore-not-found")
        everything = [each["metadata"]["name"] for each in operator_module.definitions()]
        admin.kubectl("delete", "crd", *everything, "--ignore-not-found", "--timeout=60s")


def _list(objects: list[dict[str, Any]]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


def _conversions(admin: Cluster) -> set[str]:
    """How the API server converts between the versions of the kinds."""
    return {each["spec"]["conversion"]["strategy"] for each in admin.get("crd", *DEFINITIONS)["items"]}


def _documented(beginning: str) -> str:
    """The command of the migration's page that begins so, with the lines that go on with it."""
    page = (REPOSITORY / "docs/tasks/from-spo.md").read_text()
    (block,) = re.findall(rf"^( +{re.escape(beginning)}.*\n(?: {{8,}}.+\n|       done\n)*)", page, re.MULTILINE)
    return str(block)
