from pathlib import Path

import pytest

from enricher.cgroup import Cgroup
from enricher.containers.cgroupfs import SCAN_INTERVAL, UNKNOWN_FOR, CgroupIndex


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Tree:
    def __init__(self, root: Path) -> None:
        self.root, self.clock = root, Clock()
        self.roots = [Cgroup(root.stat().st_ino, root)]
        self.index = CgroupIndex(self.roots, self.clock)

    def add(self, path: str) -> int:
        folder = self.root / path
        folder.mkdir(parents=True)
        return folder.stat().st_ino


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_a_cgroup_is_found_by_its_id(tree: Tree) -> None:
    ids = {tree.add(path): path for path in ("pod1/c1", "burstable/pod2/c2", "burstable/pod2/c2/inner/most")}

    assert {cgroup: tree.index.path(cgroup) for cgroup in ids} == {
        cgroup: (tree.root, tree.root / path) for cgroup, path in ids.items()
    }


def test_a_cgroup_outside_the_pods_is_unknown(tree: Tree) -> None:
    assert tree.index.path(tree.root.parent.stat().st_ino) is None


def test_a_cgroup_stays_known_after_it_is_gone(tree: Tree) -> None:
    cgroup = tree.add("pod1")
    tree.index.path(cgroup)
    (tree.root / "pod1").rmdir()
    tree.clock.now += 60
    tree.index.path(cgroup + 1)

    assert tree.index.path(cgroup) == (tree.root, tree.root / "pod1")


def test_two_scans_keep_their_distance(tree: Tree) -> None:
    tree.index.path(tree.add("pod1"))
    late = tree.add("pod2")
    before = tree.index.path(late)
    tree.clock.now += SCAN_INTERVAL

    assert (before, tree.index.path(late)) == (None, (tree.root, tree.root / "pod2"))


def test_a_root_that_is_found_later_is_looked_into(tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("containerd.service")
    (inner := other / "pod").mkdir()
    cgroup = inner.stat().st_ino
    before = tree.index.path(cgroup)
    tree.roots.append(Cgroup(other.stat().st_ino, other))
    tree.clock.now += UNKNOWN_FOR

    assert (before, tree.index.path(cgroup)) == (None, (other, inner))


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

    assert CgroupIndex([Cgroup(1, gone)]).path(2) is None
