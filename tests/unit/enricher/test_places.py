"""Which container a cgroup is, of containers that stay and of those that are gone before anybody looks."""

from pathlib import Path

import pytest

from enricher.cgroup import NODE_CGROUP, Cgroup
from enricher.containers.cgroup_resolver import CgroupfsResolver
from enricher.containers.containers import NODE, CgroupRef
from enricher.events import Exec, Exit, Process

ID, POD = "c" * 64, "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
PROCESS, PARENT = Process(10, 100), Process(1, 1)
GONE = 99


@pytest.fixture
def kubepods(tmp_path: Path) -> Path:
    folder = tmp_path / "kubepods"
    (folder / f"pod{POD}" / ("0" * 64)).mkdir(parents=True)
    return folder


@pytest.fixture
def places(kubepods: Path) -> CgroupfsResolver:
    return CgroupfsResolver(Cgroup(kubepods.stat().st_ino, kubepods))


def execed(cgroup: int, name: str = "") -> Exec:
    return Exec(0, cgroup, name, PROCESS, PARENT, 0, 0, 7, False, b"/bin/true", b"true\0", truncated=False)


def exited(cgroup: int) -> Exit:
    return Exit(1, cgroup, PROCESS, 0, None)


def test_a_container_that_stays_is_known_with_its_pod(kubepods: Path, places: CgroupfsResolver) -> None:
    (folder := kubepods / f"pod{POD}" / ID).mkdir()

    assert places.of(execed(folder.stat().st_ino, ID)) == CgroupRef(ID, POD)


def test_what_is_in_a_pod_and_no_container_is_the_runtimes_own(kubepods: Path, places: CgroupfsResolver) -> None:
    """CRI-O's conmon watches a container from the pod's cgroup, and runs what is to enter it."""
    (folder := kubepods / f"pod{POD}" / f"crio-conmon-{ID}.scope").mkdir()

    place = places.of(execed(folder.stat().st_ino, folder.name))

    assert (place.pod_uid, place.sandbox) == (POD, True)


@pytest.mark.parametrize(("name", "sandbox"), [(ID, True), (f"crio-{ID}", False)], ids=["containerd", "CRI-O"])
def test_the_first_cgroup_of_a_pod_is_its_sandbox_but_with_cri_o(tmp_path: Path, name: str, sandbox: bool) -> None:
    folder = tmp_path / "kubepods" / f"pod{POD}" / name
    folder.mkdir(parents=True)
    kubepods = tmp_path / "kubepods"

    place = CgroupfsResolver(Cgroup(kubepods.stat().st_ino, kubepods)).of(execed(folder.stat().st_ino, name))

    assert place == CgroupRef(ID, POD, sandbox=sandbox)


def test_a_container_is_named_by_a_process_that_is_still_in_it(
    kubepods: Path, places: CgroupfsResolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder := kubepods / f"pod{POD}" / ID).mkdir()
    (folder / "cgroup.procs").write_text("11\n12\n")
    names: dict[int, str] = {}
    target = "enricher.containers.cgroup_resolver.container_name"
    monkeypatch.setattr(target, lambda pid, uid: names.get(pid, "") * (uid == POD))
    event = execed(folder.stat().st_ino, ID)

    assert places.again(event) == places.of(event) == CgroupRef(ID, POD)
    names[12] = "app"
    assert places.again(event) == CgroupRef(ID, POD, name="app")
    assert places.of(event) == CgroupRef(ID, POD, name="app")


def test_where_nobody_tells_its_name_it_has_none(kubepods: Path, places: CgroupfsResolver) -> None:
    (folder := kubepods / f"pod{POD}" / ID).mkdir()

    assert places.again(execed(folder.stat().st_ino, ID)) == CgroupRef(ID, POD)


def test_exits_of_a_container_that_is_gone_keep_the_name_of_its_execs(places: CgroupfsResolver) -> None:
    assert [places.of(event) for event in (execed(GONE, ID), exited(GONE))] == [CgroupRef(ID)] * 2


def test_an_end_of_which_nothing_was_told_before_is_nobodys(places: CgroupfsResolver) -> None:
    assert places.of(exited(GONE)) == CgroupRef(f"cgroup-{GONE}")


def test_what_is_remembered_of_those_that_are_gone_is_bounded(places: CgroupfsResolver) -> None:
    for cgroup in range(1000, 4000):
        places.of(execed(cgroup, ID))

    assert (places.of(exited(1000)), places.of(exited(3999))) == (CgroupRef("cgroup-1000"), CgroupRef(ID))


def test_the_node_outside_of_all_pods_is_a_place_too(places: CgroupfsResolver) -> None:
    assert places.of(execed(NODE_CGROUP)) == NODE
    assert places.forget_gone() == []
