"""The Security Profiles Operator's `spod` on the real node: what is patched reaches running pods, or says why not."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from exectrail.contracts import spo

from .cluster import Cluster, eventually
from .product import NAMESPACE, install
from .sessions import Person, programs

# The kubelet looks after a pod's ConfigMaps about once a minute; the installer looks twice a minute.
_REACHES_NODES = 180
pytestmark = pytest.mark.timeout(3 * _REACHES_NODES)

FILTERS = json.dumps([{"level": "None", "match": {"key": "argv", "equals": "/bin/true"}}])
BROKEN = json.dumps([{"level": "Nome", "matchKeys": ["argv"]}])
FLAT = {"jsonEnricherFilters": FILTERS, "allowedSyscalls": ["read", "write"], "verbosity": 1}
NESTED = {
    "enricher": {"jsonEnricherFilters": FILTERS},
    "security": {"allowedSyscalls": ["read", "write"]},
    "verbosity": 1,
}


class Spod:
    """The object, as its users change it and look at it."""

    def __init__(self, admin: Cluster) -> None:
        self.admin = admin
        self.of_release("wait", "spod/spod", "--for=create", "--timeout=60s")
        self.is_ready()

    def of_release(self, *args: str) -> str:
        return self.admin.kubectl(*args, "-n", NAMESPACE).stdout

    def patch(self, spec: dict[str, Any]) -> None:
        self.of_release("patch", "spod", "spod", "--type=merge", "-p", json.dumps({"spec": spec}))

    def empty(self) -> None:
        self.of_release(
            "patch", "spod", "spod", "--type=json", "-p", '[{"op": "replace", "path": "/spec", "value": {}}]'
        )

    def is_ready(self) -> None:
        self.of_release("wait", "spod/spod", "--for=condition=ready", "--timeout=60s")

    def state(self) -> str:
        return self.of_release("get", "spod", "spod", "-o", "jsonpath={.status.state}")

    def condition(self, name: str) -> dict[str, Any] | None:
        found = self.admin.get("spod", "spod", "-n", NAMESPACE).get("status", {}).get("conditions", [])
        return next((each for each in found if each["type"] == name), None)

    def says(self, name: str, status: str, text: str) -> None:
        """Wait for a condition that has this in its message."""

        def said() -> bool:
            found = self.condition(name)
            return found is not None and found["status"] == status and text in found["message"]

        eventually(said)

    def settings(self) -> dict[str, str]:
        data: dict[str, str] = self.admin.get("configmap", "exectrail-spod", "-n", NAMESPACE).get("data", {})
        return data


@pytest.fixture
def spod(admin: Cluster) -> Iterator[Spod]:
    found = Spod(admin)
    yield found
    found.empty()
    admin.kubectl("delete", "sp", "--all", "--timeout=60s")


def running(admin: Cluster) -> dict[str, tuple[str, list[int]]]:
    """UID and restarts of each pod that is to follow `spod`."""
    pods = admin.get("pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component in (enricher,node)")["items"]
    return {
        each["metadata"]["name"]: (
            each["metadata"]["uid"],
            [container["restartCount"] for container in each["status"]["containerStatuses"]],
        )
        for each in pods
    }


def records_the_program(alice: Person, space: str) -> bool:
    """Whether the program that the filter drops is in the trail; the one beside it always is."""
    _, records = alice.executes(space, "sh", "-c", "/bin/true; /bin/echo kept; exit 0")
    ran = programs(records)
    assert "/bin/echo" in ran
    return "/bin/true" in ran


def allows(admin: Cluster, name: str, *syscalls: str) -> None:
    """Make a SeccompProfile that allows these alone."""
    rule = {"names": list(syscalls), "action": "SCMP_ACT_ALLOW"}
    meta = {"apiVersion": spo.GROUP_VERSION, "kind": "SeccompProfile", "metadata": {"name": name}}
    admin.apply({**meta, "spec": {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}})


def is_refused(admin: Cluster, name: str) -> bool:
    status = admin.get("sp", name).get("status", {})
    return any(each["type"] == "ProfileNotAllowed" for each in status.get("conditions", []))


@pytest.mark.parametrize(("spec", "prefix"), [(FLAT, "spec."), (NESTED, "spec.enricher.")], ids=["flat", "nested"])
def test_running_pods_follow_what_is_patched_and_return_to_the_values(
    alice: Person, recorded: str, spod: Spod, spec: dict[str, Any], prefix: str
) -> None:
    admin = alice.admin
    before = running(admin)
    filters = f"{prefix}jsonEnricherFilters"
    eventually(lambda: records_the_program(alice, recorded), _REACHES_NODES, every=2)

    spod.patch(spec)
    spod.says(filters, "True", "`enricher.filters`")
    allows(admin, "small", "read")
    allows(admin, "wide", "read", "reboot")
    eventually(lambda: not records_the_program(alice, recorded), _REACHES_NODES, every=2)
    eventually(lambda: is_refused(admin, "wide"), _REACHES_NODES, every=2)
    admin.kubectl("wait", "sp/small", "--for=condition=ready", "--timeout=30s")
    for daemonset, container in (("enricher", "enricher"), ("node", "installer")):
        place = (f"daemonset/exectrail-{daemonset}", "-c", container)
        eventually(lambda place=place: "logs from level debug on" in spod.of_release("logs", *place))  # type: ignore[misc]

    settings = spod.settings()
    spod.patch({"jsonEnricherFilters": BROKEN} if prefix == "spec." else {"enricher": {"jsonEnricherFilters": BROKEN}})
    spod.says(filters, "False", 'rule 1: level is "Nome"')
    assert spod.settings() == settings
    assert not records_the_program(alice, recorded)

    spod.empty()
    eventually(lambda: spod.settings() == {})
    eventually(lambda: records_the_program(alice, recorded), _REACHES_NODES, every=2)
    admin.kubectl("wait", "sp/wide", "--for=condition=ready", f"--timeout={_REACHES_NODES}s")
    assert running(admin) == before
    assert spod.condition(filters) is None


def test_an_upgrade_of_the_release_keeps_what_spod_asks_for(admin: Cluster, spod: Spod) -> None:
    spod.patch({"allowedSyscalls": ["read"]})
    eventually(lambda: spod.settings() == {"allowed-syscalls": "read"})
    before = running(admin)

    install(admin)

    assert spod.settings() == {"allowed-syscalls": "read"}
    assert running(admin) == before


def test_the_state_is_that_of_the_pods(spod: Spod) -> None:
    assert spod.state() == "Running"
    spod.of_release("delete", "pod", "-l", "app.kubernetes.io/component=node", "--wait=false")
    eventually(lambda: spod.state() in {"Error", "Updating"})
    eventually(lambda: spod.state() == "Running", 60)
    spod.is_ready()


def test_what_cannot_change_in_place_names_the_values_to_set(spod: Spod) -> None:
    source = json.dumps({"hostPath": {"path": "/tmp/logs", "type": "DirectoryOrCreate"}})
    name = spo.PROFILE_CONFIG_MAP
    spod.of_release("patch", "configmap", name, "-p", json.dumps({"data": {spo.LOG_VOLUME_SOURCE: source}}))
    hook = {"name": "execmetadata.spo.io", "failurePolicy": "Fail"}
    spod.patch({"webhookOptions": [hook], "enableJsonEnricher": False})

    spod.says(spo.LOG_VOLUME_SOURCE, "False", "`logs.file.path=/tmp/logs`")
    spod.says("spec.webhookOptions", "False", "`webhook.failurePolicy`")
    spod.says("spec.enableJsonEnricher", "False", "`exectrail.io/record`")

    spod.of_release("patch", "configmap", name, "--type=merge", "-p", '{"data": null}')
    eventually(lambda: spod.condition(spo.LOG_VOLUME_SOURCE) is None)
