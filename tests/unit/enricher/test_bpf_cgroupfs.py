from pathlib import Path

import pytest

from enricher.cgroup import Cgroup, Hierarchy
from enricher.containers.cgroupfs import SCAN_INTERVAL, UNKNOWN_FOR, CgroupIndex, find_kubepods
from enricher.sensors.unavailable import SensorUnavailable


def v2(root: Path, *folders: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "cgroup.controllers").touch()
    for folder in folders:
        (root / folder).mkdir(parents=True)
    return root


def v1(root: Path, controller: str, folder: str) -> Path:
    tree = root / controller
    (tree / folder).mkdir(parents=True)
    (tree / "cgroup.procs").touch()
    return tree / folder


@pytest.mark.parametrize(
    "folder",
    [
        pytest.param("kubepods", id="cgroupfs driver"),
        pytest.param("kubepods.slice", id="systemd driver"),
        pytest.param("kubelet/kubepods", id="kind, cgroupfs driver"),
        pytest.param("kubelet.slice/kubelet-kubepods.slice", id="kind, systemd driver"),
        pytest.param("a.slice/a-b.slice/a-b-kubepods.slice", id="deepest"),
    ],
)
@pytest.mark.parametrize("layout", ["", "unified"], ids=["pure v2", "hybrid"])
def test_kubepods_is_found(tmp_path: Path, layout: str, folder: str) -> None:
    v2(tmp_path / layout, folder, "system.slice/containerd.service", "user.slice")

    found = tmp_path / layout / folder
    assert find_kubepods(tmp_path) == Cgroup(found.stat().st_ino, found)


def test_the_kubepods_nearest_to_the_root_is_taken(tmp_path: Path) -> None:
    v2(tmp_path, "a/kubepods", "kubepods/b/kubepods")

    assert find_kubepods(tmp_path).path == tmp_path / "kubepods"


@pytest.mark.parametrize("controller", ["memory", "pids"])
def test_on_a_node_with_cgroup_v1_only_a_controller_s_tree_is_taken(tmp_path: Path, controller: Hierarchy) -> None:
    found = v1(tmp_path, controller, "kubepods.slice")

    assert find_kubepods(tmp_path) == Cgroup(found.stat().st_ino, found, controller)


def test_a_v2_tree_without_pods_gives_way_to_v1(tmp_path: Path) -> None:
    v2(tmp_path / "unified", "system.slice")
    found = v1(tmp_path, "memory", "kubepods")
    v1(tmp_path, "pids", "kubepods")

    assert find_kubepods(tmp_path) == Cgroup(found.stat().st_ino, found, "memory")


def test_the_v2_tree_goes_before_v1(tmp_path: Path) -> None:
    v2(tmp_path / "unified", "kubepods")
    v1(tmp_path, "memory", "kubepods")

    assert find_kubepods(tmp_path).hierarchy == "v2"


@pytest.mark.parametrize("folder", ["kubepods-besteffort.slice", "mykubepods", "a/b/c/kubepods"])
def test_other_folders_are_not_taken_for_kubepods(tmp_path: Path, folder: str) -> None:
    v2(tmp_path / "unified", folder)
    v1(tmp_path, "pids", folder)

    with pytest.raises(
        SensorUnavailable, match=r"no kubepods cgroup in .*/unified, .*/pids; is this a node with a kubelet\?"
    ):
        find_kubepods(tmp_path)


def test_a_folder_without_any_cgroup_tree_is_a_reason(tmp_path: Path) -> None:
    with pytest.raises(SensorUnavailable, match=r"no cgroup tree at .*, neither v2 nor v1: is /sys/fs/cgroup mounted"):
        find_kubepods(tmp_path)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Tree:
    def __init__(self, root: Path) -> None:
        self.root, self.clock = root, Clock()
        self.index = CgroupIndex(Cgroup(root.stat().st_ino, root), self.clock)

    def add(self, path: str) -> int:
        folder = self.root / path
        folder.mkdir(parents=True)
        return folder.stat().st_ino


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_a_cgroup_is_found_by_its_id(tree: Tree) -> None:
    ids = {tree.add(path): path for path in ("pod1/c1", "burstable/pod2/c2", "burstable/pod2/c2/inner/most")}

    assert {cgroup: tree.index.path(cgroup) for cgroup in ids} == ids


def test_a_cgroup_outside_the_pods_is_unknown(tree: Tree) -> None:
    assert tree.index.path(tree.root.parent.stat().st_ino) is None


def test_a_cgroup_stays_known_after_it_is_gone(tree: Tree) -> None:
    cgroup = tree.add("pod1")
    tree.index.path(cgroup)
    (tree.root / "pod1").rmdir()
    tree.clock.now += 60
    tree.index.path(cgroup + 1)

    assert tree.index.path(cgroup) == "pod1"


def test_two_scans_keep_their_distance(tree: Tree) -> None:
    tree.index.path(tree.add("pod1"))
    late = tree.add("pod2")
    before = tree.index.path(late)
    tree.clock.now += SCAN_INTERVAL

    assert (before, tree.index.path(late)) == (None, "pod2")


def test_an_unknown_id_is_not_looked_for_again_at_once(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    scanned_at: list[float] = []

    def no_folders(_: Path) -> tuple[()]:
        scanned_at.append(tree.clock.now)
        return ()

    monkeypatch.setattr("enricher.containers.cgroupfs.folders_below", no_folders)
    for second in (0.0, 0.5, 0.9, 1.1, 1.5, 2.0):
        tree.clock.now = second * UNKNOWN_FOR
        assert tree.index.path(1) is None

    assert scanned_at == [0.0, 1.1 * UNKNOWN_FOR]


def test_folders_that_vanish_during_a_scan_do_no_harm(tmp_path: Path) -> None:
    gone = tmp_path / "gone"

    assert CgroupIndex(Cgroup(1, gone)).path(2) is None
