"""Users' profiles from the API to the node: real files, a real HTTP server."""

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from exectrail.k8s import mirror as mirror_module
from exectrail.k8s.client import Client
from profiles.installer.allowed_lists import AllowedLists
from profiles.installer.contents import Allowed
from profiles.installer.loop import Loop
from profiles.installer.operator_folder import OperatorFolder
from profiles.installer.owned import FILE as LISTED
from profiles.installer.user_profiles import UserProfiles
from tests.unit.profiles.node_api import PODS, PROFILES, STATUSES, NodeApi
from tests.unit.waiting import until

LOG_EXECS: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["execve"], "action": "SCMP_ACT_LOG"}],
}
OTHER: dict[str, Any] = {"defaultAction": "SCMP_ACT_ERRNO"}
BUILT_IN = "exectrail/process-audit.json"


class Node:
    """An installer that runs on a node with two folders."""

    def __init__(self, api: NodeApi, root: Path, allowed: str = "") -> None:
        self.seccomp, self.spo = root / "seccomp", root / "spo"
        self.seccomp.mkdir(exist_ok=True)
        self.spo.mkdir(exist_ok=True)
        folder = OperatorFolder(self.seccomp, self.spo)
        self.users = UserProfiles(Client(api.url), "n1", folder, AllowedLists(allowed, ""))
        self.loop = Loop(self.seccomp, seconds=0.2)
        self.loop.follow(self.users)
        self._thread = threading.Thread(target=self.loop.run)
        self._thread.start()

    def stop(self) -> None:
        self.users.stop()
        self.loop.stop()
        self._thread.join()

    def files(self) -> dict[str, Any]:
        """The profiles, as a runtime reads them."""
        found: dict[str, Any] = {}
        for path in self.spo.glob("*.json"):
            with contextlib.suppress(FileNotFoundError):  # removed just now
                if path.name != LISTED:
                    found[path.name] = json.loads(path.read_bytes())
        return found


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_module, "_BACKOFF_FIRST", 0.01)
    monkeypatch.setattr("profiles.installer.loop._BACKOFF_FIRST", 0.01)


@pytest.fixture
def api() -> Iterator[NodeApi]:
    with NodeApi() as server:
        yield server


@pytest.fixture
def start(api: NodeApi, tmp_path: Path) -> Iterator[Callable[..., Node]]:
    """Starts installers on one node, and ends them with the test."""
    running: list[Node] = []

    def node(**arguments: Any) -> Node:
        running.append(Node(api, tmp_path, **arguments))
        return running[-1]

    yield node
    for each in running:
        each.stop()


def pod(file: str, phase: str = "Running") -> dict[str, Any]:
    profile = {"type": "Localhost", "localhostProfile": f"operator/{file}"}
    return {"spec": {"containers": [{"securityContext": {"seccompProfile": profile}}]}, "status": {"phase": phase}}


def test_a_profile_goes_through_its_life(api: NodeApi, start: Callable[..., Node]) -> None:
    node = start()
    api.put(PROFILES, "sp", spec=LOG_EXECS)
    until(lambda: api.statuses() == {"sp-n1": "Installed"})
    assert node.files()["sp.json"]["syscalls"] == [{"names": ["execve"], "action": "SCMP_ACT_LOG"}]

    api.put(PROFILES, "sp", spec=OTHER)
    until(lambda: node.files()["sp.json"]["defaultAction"] == "SCMP_ACT_ERRNO")

    api.put(PODS, "p", **pod("sp.json"))
    until(lambda: "p" in node.users._pods.objects)
    api.put(PROFILES, "sp", spec={**OTHER, "state": "Disabled"})
    until(lambda: api.statuses() == {"sp-n1": "Disabled"})
    assert api.status("sp-n1")["metadata"]["annotations"]["exectrail.io/reason"] == "InUse"
    assert set(node.files()) == {"sp.json"}

    api.put(PROFILES, "sp", spec=OTHER)
    until(lambda: api.statuses() == {"sp-n1": "Installed"})
    api.put(PROFILES, "sp", deletionTimestamp="2026-01-02T00:00:00Z")
    until(lambda: api.statuses() == {"sp-n1": "Terminating"})
    api.delete(PROFILES, "sp")
    until(lambda: api.statuses() == {})
    assert set(node.files()) == {"sp.json"}, "the pod still names it"

    api.put(PODS, "p", status={"phase": "Succeeded"})
    until(lambda: node.files() == {})
    assert (node.seccomp / BUILT_IN).exists()


def test_the_last_pod_that_goes_releases_the_file_at_once(api: NodeApi, start: Callable[..., Node]) -> None:
    api.put(PROFILES, "sp", spec=OTHER)
    for name in ("p", "q"):
        api.put(PODS, name, **pod("sp.json"))
    node = start()
    until(lambda: set(node.files()) == {"sp.json"} and len(node.users._pods.objects) == 2)
    api.put(PROFILES, "sp", spec={**OTHER, "state": "Disabled"})
    until(lambda: api.statuses() == {"sp-n1": "Disabled"})
    api.delete(PODS, "p")
    until(lambda: len(node.users._pods.objects) == 1)
    assert set(node.files()) == {"sp.json"}
    api.delete(PODS, "q")
    until(lambda: node.files() == {})


def test_only_the_nodes_own_pods_and_statuses_are_read(api: NodeApi, start: Callable[..., Node]) -> None:
    start()
    until(lambda: {path for path, _ in api.queries} >= {PODS, STATUSES})
    assert {query.get("fieldSelector") for path, query in api.queries if path == PODS} == {"spec.nodeName=n1"}
    selectors = {query.get("labelSelector") for path, query in api.queries if path == STATUSES}
    assert selectors == {"spo.x-k8s.io/node-name=n1"}


def test_one_broken_profile_does_not_stop_the_others(api: NodeApi, start: Callable[..., Node]) -> None:
    broken: dict[str, Any] = {
        "no-action": {},
        "wrong-type": {"defaultAction": 7},
        "no-base": {**OTHER, "baseProfileName": "missing"},
        "unknown-state": {**OTHER, "state": "On"},
    }
    for name, spec in broken.items():
        api.put(PROFILES, name, spec=spec)
    api.put(PROFILES, "sp", spec=OTHER)
    node = start()
    expected = {f"{name}-n1": "Error" for name in broken} | {"sp-n1": "Installed"}
    until(lambda: api.statuses() == expected)
    assert set(node.files()) == {"sp.json"}
    reasons = {name: api.status(f"{name}-n1")["metadata"]["annotations"]["exectrail.io/reason"] for name in broken}
    assert reasons == {
        "no-action": "InvalidSeccompProfile",
        "wrong-type": "InvalidSeccompProfile",
        "no-base": "BaseProfileNotFound",
        "unknown-state": "InvalidSeccompProfile",
    }
    until(lambda: REGISTRY.get_sample_value("exectrail_installer_profiles", {"state": "Error"}) == len(broken))
    assert REGISTRY.get_sample_value("exectrail_installer_profile_errors", {"reason": "BaseProfileNotFound"}) == 1
    assert node.loop.unready() is None, "the node is well"


def test_no_file_is_written_that_no_container_starts_with(api: NodeApi, start: Callable[..., Node]) -> None:
    listener = {"listenerPath": "/var/run/security-profiles-operator/x.sock"}
    asks = {"syscalls": [{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}]}
    api.put(PROFILES, "base", spec=OTHER | asks | listener)
    api.put(PROFILES, "no-listener", spec={**OTHER, "baseProfileName": "base"})
    api.put(PROFILES, "default", spec={"defaultAction": "SCMP_ACT_NOTIFY", **listener})
    node = start()
    until(lambda: api.statuses() == {"base-n1": "Installed", "no-listener-n1": "Error", "default-n1": "Error"})
    assert set(node.files()) == {"base.json"}
    for name, said in (("no-listener", "listenerPath: missing"), ("default", "defaultAction SCMP_ACT_NOTIFY")):
        annotations = api.status(f"{name}-n1")["metadata"]["annotations"]
        assert annotations["exectrail.io/reason"] == "InvalidSeccompProfile"
        assert annotations["exectrail.io/message"].startswith(said)


@pytest.mark.parametrize(("errno_ret", "written"), [(0, {}), (1, {}), (38, {"errnoRet": 38})])
def test_a_refused_call_never_looks_successful(
    api: NodeApi, start: Callable[..., Node], errno_ret: int, written: dict[str, int]
) -> None:
    refusal = {"names": ["ptrace"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno_ret}
    api.put(PROFILES, "base", spec={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refusal]})
    api.put(PROFILES, "sp", spec={"defaultAction": "SCMP_ACT_ALLOW", "baseProfileName": "base"})
    node = start()
    until(lambda: api.statuses() == {"base-n1": "Installed", "sp-n1": "Installed"})
    expected = [{"names": ["ptrace"], "action": "SCMP_ACT_ERRNO", **written}]
    assert [file["syscalls"] for file in node.files().values()] == [expected, expected]


@pytest.mark.parametrize(
    ("labels", "spec", "state"),
    [
        ({}, {"state": "Disabled"}, "Disabled"),
        ({}, {"disabled": True}, "Disabled"),
        ({}, {"disabled": True, "state": "Enabled"}, "Disabled"),  # the API server adds the default
        ({}, {"disabled": False}, "Installed"),
        ({"spo.x-k8s.io/partial": "true"}, {}, "Partial"),
        ({"spo.x-k8s.io/partial": ""}, {}, "Partial"),
        ({"spo.x-k8s.io/partial": "true"}, {"disabled": True}, "Disabled"),
    ],
)
def test_what_is_disabled_or_part_of_a_recording_is_on_no_node(
    api: NodeApi, start: Callable[..., Node], labels: dict[str, str], spec: dict[str, Any], state: str
) -> None:
    api.put(PROFILES, "sp", spec={**OTHER, **spec}, labels=labels)
    node = start()
    until(lambda: api.statuses() == {"sp-n1": state})
    assert set(node.files()) == ({"sp.json"} if state == "Installed" else set())


def test_a_part_of_a_recording_is_installed_once_it_is_labelled_so_no_more(
    api: NodeApi, start: Callable[..., Node]
) -> None:
    api.put(PROFILES, "sp", spec=OTHER, labels={"spo.x-k8s.io/partial": "true"})
    node = start()
    until(lambda: api.statuses() == {"sp-n1": "Partial"})
    api.put(PROFILES, "sp", labels={})
    until(lambda: api.statuses() == {"sp-n1": "Installed"})
    assert set(node.files()) == {"sp.json"}


def test_a_disabled_profile_that_is_being_deleted_is_not_written(api: NodeApi, start: Callable[..., Node]) -> None:
    api.put(PROFILES, "sp", spec={**OTHER, "state": "Disabled"}, deletionTimestamp="2026-01-02T00:00:00Z")
    node = start()
    until(lambda: api.statuses() == {"sp-n1": "Terminating"})
    assert node.files() == {}


def test_a_profile_follows_its_base(api: NodeApi, start: Callable[..., Node]) -> None:
    api.put(PROFILES, "sp", spec={**OTHER, "baseProfileName": "base"})
    node = start()
    until(lambda: api.statuses() == {"sp-n1": "Error"})
    api.put(PROFILES, "base", spec={**OTHER, "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]})
    until(lambda: api.statuses() == {"base-n1": "Installed", "sp-n1": "Installed"})
    assert "read" in str(node.files()["sp.json"])
    api.put(PROFILES, "base", spec={**OTHER, "syscalls": [{"names": ["write"], "action": "SCMP_ACT_ALLOW"}]})
    until(lambda: "write" in str(node.files()["sp.json"]))


def test_what_is_allowed_follows_its_file(api: NodeApi, start: Callable[..., Node], tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.write_text("read\nexecve\n")
    api.put(PROFILES, "sp", spec={**OTHER, "syscalls": [{"names": ["execve"], "action": "SCMP_ACT_ALLOW"}]})
    node = start(allowed=f"@{allowed}")
    until(lambda: api.statuses() == {"sp-n1": "Installed"})
    allowed.write_text("read\n")
    until(lambda: api.statuses() == {"sp-n1": "Error"})
    assert api.status("sp-n1")["metadata"]["annotations"]["exectrail.io/reason"] == "ProfileNotAllowed"
    until(lambda: node.files() == {})


def test_the_status_of_a_profile_that_the_controller_writes_is_no_reason_to_look(
    api: NodeApi, start: Callable[..., Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    node = start()
    api.put(PROFILES, "sp", spec=OTHER)
    until(lambda: api.statuses() == {"sp-n1": "Installed"})
    woken: list[None] = []
    monkeypatch.setattr(node.users, "changed", lambda: woken.append(None))
    api.put(PROFILES, "sp", status={"status": "Installed"})
    api.put(PROFILES, "other", spec=OTHER)
    until(lambda: "other" in node.users._profiles.objects)
    assert len(woken) == 1


def test_without_the_operators_objects_only_built_in_profiles_are_installed_until_they_come(
    api: NodeApi, start: Callable[..., Node], caplog: pytest.LogCaptureFixture
) -> None:
    api.refused = {("GET", PROFILES): 404}
    with caplog.at_level(logging.INFO):
        node = start()
        until(lambda: len(api.queries) > 2)
    assert (node.seccomp / BUILT_IN).exists()
    assert node.loop.unready() is None
    assert caplog.text.count("serves no SeccompProfiles") == 1
    assert not (node.seccomp / "operator").is_symlink()
    api.put(PROFILES, "sp", spec=OTHER)
    api.refused = {}
    until(lambda: api.statuses() == {"sp-n1": "Installed"})


def test_while_the_api_is_away_everything_stays(api: NodeApi, start: Callable[..., Node], tmp_path: Path) -> None:
    api.put(PROFILES, "sp", spec=OTHER)
    first = start()
    until(lambda: api.statuses() == {"sp-n1": "Installed"})
    first.stop()
    api.delete(PROFILES, "sp")
    api.refused = {("GET", PROFILES): 503, ("GET", PODS): 503}
    second = start()
    (second.seccomp / BUILT_IN).unlink()
    until((second.seccomp / BUILT_IN).exists)
    assert set(second.files()) == {"sp.json"}
    api.refused = {("GET", PODS): 503}
    until(lambda: api.statuses() == {})
    assert set(second.files()) == {"sp.json"}, "the node's pods are not known"
    api.refused = {}
    until(lambda: second.files() == {})


def test_a_pod_that_was_not_seen_yet_holds_its_file(api: NodeApi, start: Callable[..., Node]) -> None:
    api.put(PROFILES, "sp", spec=OTHER)
    node = start()
    until(lambda: api.statuses() == {"sp-n1": "Installed"})
    with api.changed:  # the list has it, and no watch has said so
        api.collections[PODS].objects["p"] = {"metadata": {"name": "p"}, **pod("sp.json")}
    api.delete(PROFILES, "sp")
    until(lambda: api.statuses() == {})
    assert set(node.files()) == {"sp.json"}


def test_a_node_whose_folder_is_broken_is_not_ready_and_says_so(
    api: NodeApi, start: Callable[..., Node], tmp_path: Path
) -> None:
    (tmp_path / "seccomp").mkdir()
    link = tmp_path / "seccomp" / "operator"
    link.symlink_to("/etc")
    api.put(PROFILES, "sp", spec=OTHER)
    node = start()
    until(lambda: api.statuses() == {"sp-n1": "Error"})
    assert "symbolic link to /etc" in (node.loop.unready() or "")
    assert api.status("sp-n1")["metadata"]["annotations"]["exectrail.io/reason"] == "CannotSaveSeccompProfile"
    link.unlink()
    until(lambda: api.statuses() == {"sp-n1": "Installed"})
    until(lambda: node.loop.unready() is None)


@pytest.mark.parametrize("given", ["read, write", "read write", "read,write,"])
def test_a_list_of_what_is_allowed_may_be_given_in_several_forms(given: str, tmp_path: Path) -> None:
    (tmp_path / "list").write_text(given.replace(" ", "\n"))
    assert AllowedLists(given, "")().syscalls == ("read", "write")
    assert AllowedLists("", f"@{tmp_path}/list")().actions == ("read", "write")


def test_a_list_that_is_gone_stays_in_force(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("read")
    lists = AllowedLists(f"@{tmp_path}/list", "")
    (tmp_path / "list").unlink()
    assert lists().syscalls == ("read",)
    with pytest.raises(FileNotFoundError):
        AllowedLists(f"@{tmp_path}/list", "")


def test_the_settings_go_before_the_lists_that_were_given_while_they_are_there(tmp_path: Path) -> None:
    lists = AllowedLists("read", "SCMP_ACT_ALLOW", tmp_path / "settings")
    assert lists() == Allowed(("read",), ("SCMP_ACT_ALLOW",))

    (tmp_path / "settings").mkdir()
    (tmp_path / "settings" / "allowed-syscalls").write_text("write,close")
    assert lists() == Allowed(("write", "close"), ("SCMP_ACT_ALLOW",))
    (tmp_path / "settings" / "allowed-seccomp-actions").write_text("SCMP_ACT_LOG")
    (tmp_path / "settings" / "allowed-syscalls").unlink()
    assert lists() == Allowed(("read",), ("SCMP_ACT_LOG",))
