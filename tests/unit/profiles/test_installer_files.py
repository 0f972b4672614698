"""Files of SeccompProfiles on a real disk: where they go, whose they are, and what stays when something fails."""

import errno
import json
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from exectrail.seccomp.withheld import Withheld
from profiles.installer import owned
from profiles.installer.operator_folder import OperatorFolder
from profiles.installer.plan import NodeState, Problem, Wanted
from profiles.installer.profile_files import ProfileFiles

LISTED = owned.FILE
OF_SPO = b'{"state": "Enabled", "defaultAction": "SCMP_ACT_ERRNO"}'
INSTALLED = NodeState("Installed")


class Node:
    """The two folders of a node, and the profiles that are to be in them."""

    def __init__(self, root: Path) -> None:
        self.seccomp, self.spo = root / "seccomp", root / "spo"
        self.seccomp.mkdir()
        self.spo.mkdir()
        self.contents: dict[str, bytes] = {}
        self.named: frozenset[str] | None = frozenset()
        self.named_now: frozenset[str] | None = frozenset()
        self.restart()

    def restart(self) -> None:
        folder = OperatorFolder(self.seccomp, self.spo)
        self.files = ProfileFiles(folder, self.contents.__getitem__, lambda: self.named, lambda: self.named_now)

    def profile(
        self, name: str, content: bytes = b"{}", withheld: Withheld = "", problem: Problem | None = None
    ) -> Wanted:
        self.contents[name] = content
        made = sha256(content).hexdigest() if not withheld and problem is None else ""
        return Wanted(name, f"uid-{name}", "2026-01-01T00:00:00Z", withheld, sha256=made, problem=problem)

    def update(self, *profiles: Wanted) -> dict[str, NodeState]:
        return self.files.update(profiles)

    def shown(self) -> dict[str, bytes]:
        """The profiles in the operator's folder, as the kubelet sees them."""
        return {path.name: path.read_bytes() for path in self.spo.iterdir() if path.name != LISTED}

    def listed(self) -> set[str]:
        return set(json.loads((self.spo / LISTED).read_bytes())["files"])


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_a_profile_is_written_where_spo_puts_it_readable_by_all(node: Node) -> None:
    assert node.update(node.profile("a", b"1"), node.profile("b.json", b"2")) == {"a": INSTALLED, "b.json": INSTALLED}
    assert node.shown() == {"a.json": b"1", "b.json": b"2"}
    assert stat.S_IMODE((node.spo / "a.json").stat().st_mode) == 0o644
    assert os.readlink(node.seccomp / "operator") == "/var/lib/security-profiles-operator"
    assert node.listed() == {"a.json", "b.json"}


def test_a_profile_in_place_is_not_written_again(node: Node) -> None:
    node.update(node.profile("a"))
    before = {path.name: path.stat().st_ino for path in node.spo.iterdir()}
    node.update(node.profile("a"))
    assert {path.name: path.stat().st_ino for path in node.spo.iterdir()} == before


@pytest.mark.parametrize("spoiled", [b"", b"other"])
def test_a_file_that_was_changed_or_removed_is_repaired(node: Node, spoiled: bytes) -> None:
    node.update(node.profile("a", b"1"))
    (node.spo / "a.json").write_bytes(spoiled)
    node.update(node.profile("a", b"1"))
    assert node.shown() == {"a.json": b"1"}
    (node.spo / "a.json").unlink()
    node.update(node.profile("a", b"1"))
    assert node.shown() == {"a.json": b"1"}


def test_a_change_of_a_profile_replaces_the_file_and_running_readers_keep_the_old_one(node: Node) -> None:
    node.update(node.profile("a", b"old"))
    with (node.spo / "a.json").open("rb") as held:
        node.update(node.profile("a", b"new"))
        assert held.read() == b"old"
    assert node.shown() == {"a.json": b"new"}


@pytest.mark.parametrize("again", [False, True])
def test_a_file_without_a_profile_goes_also_after_a_restart(node: Node, again: bool) -> None:
    node.update(node.profile("a"))
    if again:
        node.restart()
    assert node.update() == {}
    assert (node.shown(), node.listed()) == ({}, set())


def test_a_file_that_a_pod_names_stays_until_the_last_pod_goes(node: Node) -> None:
    node.update(node.profile("a"))
    node.named = node.named_now = frozenset({"a.json"})
    assert node.update(node.profile("a", withheld="Disabled"))["a"].reason == "InUse"
    node.update()
    assert node.shown() == {"a.json": b"{}"}
    node.named = node.named_now = frozenset()
    node.update()
    assert node.shown() == {}


@pytest.mark.parametrize(
    ("named", "now"),
    [
        (None, frozenset()),
        (frozenset(), None),
        (frozenset(), frozenset({"a.json"})),
    ],
    ids=["pods not read yet", "API away", "a pod came a moment ago"],
)
def test_nothing_is_removed_while_it_is_not_sure_that_no_pod_names_it(
    node: Node, named: frozenset[str] | None, now: frozenset[str] | None
) -> None:
    node.update(node.profile("a"))
    node.named, node.named_now = named, now
    node.update()
    node.update(node.profile("a", withheld="Disabled"))
    assert node.shown() == {"a.json": b"{}"}


def test_a_file_of_another_is_left_and_its_profile_says_so(node: Node) -> None:
    (node.spo / "a.json").write_bytes(b'{"defaultAction": "SCMP_ACT_ALLOW"}')
    states = node.update(node.profile("a"), node.profile("b"))
    assert (states["a"].state, states["a"].reason, states["b"]) == ("Error", "ForeignFile", INSTALLED)
    assert "operator/a.json" in states["a"].message
    node.update()
    assert node.shown() == {"a.json": b'{"defaultAction": "SCMP_ACT_ALLOW"}'}
    assert node.files.failure is None, "the node is well"


def test_a_file_of_the_operator_is_taken_over_and_others_of_it_are_left(node: Node) -> None:
    for name in ("a.json", "off.json", "gone.json"):
        (node.spo / name).write_bytes(OF_SPO)
    states = node.update(node.profile("a", b"ours"), node.profile("off", withheld="Disabled"))
    assert states == {"a": INSTALLED, "off": NodeState("Disabled")}
    assert node.shown() == {"a.json": b"ours", "gone.json": OF_SPO}


def test_a_file_of_another_that_is_a_link_is_not_followed(node: Node, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(OF_SPO)
    (node.spo / "a.json").symlink_to(outside)
    assert node.update(node.profile("a"))["a"].reason == "ForeignFile"
    assert outside.read_bytes() == OF_SPO


def test_a_file_that_another_changed_after_its_profile_went_is_left(node: Node) -> None:
    node.update(node.profile("a"))
    (node.spo / "a.json").write_bytes(b"mine now")
    node.update()
    assert node.shown() == {"a.json": b"mine now"}
    assert node.listed() == set()


def test_a_profile_that_makes_no_file_keeps_its_last_good_one(node: Node) -> None:
    node.update(node.profile("a", b"good"))
    problem = Problem("InvalidSeccompProfile", "defaultAction: unknown")
    states = node.update(node.profile("a", problem=problem), node.profile("b"))
    assert states == {"a": NodeState("Error", problem.reason, problem.message, last_good=True), "b": INSTALLED}
    assert node.shown()["a.json"] == b"good"


# ---- where `operator` leads ----


def test_a_real_folder_is_respected(node: Node) -> None:
    (node.seccomp / "operator").mkdir()
    assert node.update(node.profile("a")) == {"a": INSTALLED}
    assert (node.seccomp / "operator/a.json").read_bytes() == b"{}"
    assert node.shown() == {}


def test_in_a_real_folder_nothing_counts_as_the_operators(node: Node) -> None:
    (node.seccomp / "operator").mkdir()
    (node.seccomp / "operator/a.json").write_bytes(OF_SPO)
    assert node.update(node.profile("a"))["a"].reason == "ForeignFile"


@pytest.mark.parametrize(
    ("target", "inside"),
    [
        ("/var/lib/security-profiles-operator", "spo"),
        ("/var/lib/security-profiles-operator/", "spo"),
        ("/var/lib/security-profiles-operator/x/../", "spo"),
        ("/var/lib/security-profiles-operator/sub", "spo/sub"),
        ("profiles", "seccomp/profiles"),
    ],
)
def test_a_link_inside_of_the_two_folders_is_respected(node: Node, target: str, inside: str) -> None:
    (node.seccomp.parent / inside).mkdir(exist_ok=True)
    (node.seccomp / "operator").symlink_to(target)
    assert node.update(node.profile("a")) == {"a": INSTALLED}
    assert (node.seccomp.parent / inside / "a.json").read_bytes() == b"{}"


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ("/etc", "symbolic link to /etc"),
        ("../spo", "symbolic link to ../spo"),
        ("/var/lib/security-profiles-operator/../x", "out of the folders"),
        ("/var/lib/security-profiles-operator-2", "out of the folders"),
        ("missing", "make the folder that it leads to"),
        ("/var/lib/security-profiles-operator/missing", "make the folder that it leads to"),
    ],
)
def test_a_link_elsewhere_is_an_error_that_names_it(node: Node, target: str, named: str) -> None:
    (node.seccomp / "operator").symlink_to(target)
    state = node.update(node.profile("a"))["a"]
    assert (state.state, state.reason) == ("Error", "CannotSaveSeccompProfile")
    assert f"{node.seccomp}/operator" in state.message and named in state.message
    assert node.files.failure == state.message
    assert node.shown() == {}


def test_a_link_inside_of_a_link_is_not_followed(node: Node, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (node.spo / "sub").symlink_to(tmp_path / "outside")
    (node.seccomp / "operator").symlink_to("/var/lib/security-profiles-operator/sub")
    assert node.update(node.profile("a"))["a"].state == "Error"
    assert os.listdir(tmp_path / "outside") == []


def test_a_missing_mount_is_named_with_the_remedy(node: Node) -> None:
    node.spo.rmdir()
    state = node.update(node.profile("a"))["a"]
    assert f"mount the node's /var/lib/security-profiles-operator at {node.spo}" in state.message


def test_something_else_by_the_folders_name_is_an_error(node: Node) -> None:
    (node.seccomp / "operator").write_bytes(b"")
    assert "it must be a folder" in node.update(node.profile("a"))["a"].message


# ---- when the disk fails ----


def full_for(monkeypatch: pytest.MonkeyPatch, contents: Iterable[bytes]) -> None:
    """A disk that has no room for some contents."""
    full, fsync = set(contents), os.fsync

    def failing(file: int) -> None:
        path = os.readlink(f"/proc/self/fd/{file}")
        if os.path.isfile(path) and Path(path).read_bytes() in full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(file)

    monkeypatch.setattr("profiles.installer.folder.os.fsync", failing)


def test_a_full_disk_fails_one_profile_leaves_no_half_file_and_is_tried_again(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.update(node.profile("a", b"old"))
    with monkeypatch.context() as patch:
        full_for(patch, [b"new", b"c"])
        states = node.update(node.profile("a", b"new"), node.profile("b", b"b"), node.profile("c", b"c"))
        assert (states["a"].state, states["a"].reason, states["b"]) == ("Error", "CannotSaveSeccompProfile", INSTALLED)
        assert "operator/a.json: No space left on device" in states["a"].message
        assert [states[name].last_good for name in "abc"] == [True, False, False]
        assert node.shown() == {"a.json": b"old", "b.json": b"b"}
        assert "a.json" in (node.files.failure or "")
        assert node.listed() == {"a.json", "b.json"}
    states = node.update(node.profile("a", b"new"), node.profile("b", b"b"), node.profile("c", b"c"))
    assert set(states.values()) == {INSTALLED}
    assert node.shown() == {"a.json": b"new", "b.json": b"b", "c.json": b"c"}
    assert node.files.failure is None


def test_no_file_is_written_that_could_not_be_listed_as_ours(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.update(node.profile("a"))

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("profiles.installer.owned.replace", full)
        states = node.update(node.profile("a"), node.profile("b"))
        assert (states["a"], states["b"].state) == (INSTALLED, "Error")
        assert set(node.shown()) == {"a.json"}
        states = node.update(node.profile("a", b"new"), node.profile("b"))
        assert [states[name].last_good for name in "ab"] == [True, False]
    node.update(node.profile("a"), node.profile("b"))
    assert node.listed() == set(node.shown()) == {"a.json", "b.json"}


class Killed(BaseException):
    """The end of the process."""


@pytest.mark.parametrize("step", range(1, 9))
def test_a_process_that_is_killed_at_any_step_leaves_whole_files_that_are_still_ours(
    node: Node, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    node.update(node.profile("a", b"old"), node.profile("gone", b"gone"))
    steps = 0

    def killed_at(call: Any) -> Any:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == step:
                raise Killed
            return call(*arguments, **options)

        return wrapped

    with monkeypatch.context() as patch:
        for name in ("rename", "fsync"):
            patch.setattr(f"profiles.installer.folder.os.{name}", killed_at(getattr(os, name)))
        with suppress(Killed):
            node.update(node.profile("a", b"new"), node.profile("b", b"b"))
    shown = node.shown()
    assert shown.pop("a.json") in {b"old", b"new"}
    assert {name: text for name, text in shown.items() if not name.startswith(".")}.items() <= {
        ("b.json", b"b"),
        ("gone.json", b"gone"),
    }
    node.restart()
    node.update()
    assert node.shown() == {}, "all of it was ours"


def test_what_a_killed_process_left_of_a_write_is_removed(node: Node) -> None:
    (node.spo / ".exectrail-0123456789abcdef").write_bytes(b"half")
    node.update(node.profile("a"))
    assert set(node.shown()) == {"a.json"}


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"format": 9, "files": {}}', b"\xff"])
def test_without_a_readable_list_of_ours_what_is_right_is_ours_and_nothing_else(node: Node, text: bytes) -> None:
    node.update(node.profile("a", b"1"), node.profile("b", b"2"), node.profile("c", b"3"))
    (node.spo / LISTED).write_bytes(text)
    states = node.update(node.profile("a", b"1"), node.profile("b", b"changed"))
    assert (states["a"], states["b"].reason) == (INSTALLED, "ForeignFile")
    assert node.shown() == {"a.json": b"1", "b.json": b"2", "c.json": b"3"}


def test_a_folder_by_a_profiles_name_fails_that_profile_only(node: Node) -> None:
    (node.spo / "a.json").mkdir()
    states = node.update(node.profile("a"), node.profile("b"))
    assert (states["a"].reason, states["b"]) == ("ForeignFile", INSTALLED)


def test_a_name_that_is_too_long_for_a_file_fails_that_profile_only(node: Node) -> None:
    long = ".".join(["x" * 63] * 3 + ["x" * 61])
    states = node.update(node.profile(long), node.profile("b"))
    assert (states[long].reason, states["b"]) == ("InvalidSeccompProfile", INSTALLED)
    assert node.files.failure is None, "the node is well"
