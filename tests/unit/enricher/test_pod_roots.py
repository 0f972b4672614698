"""Which cgroups pods are under, in trees as they are met."""

import re
from pathlib import Path

import pytest

from enricher.cgroup import MOST_ROOTS, Cgroup, Hierarchy
from enricher.containers.pod_roots import PodRoots
from enricher.sensors.bpf import program
from enricher.sensors.unavailable import SensorUnavailable

POD, STATIC = "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "0" * 32
UID = POD.replace("-", "_")
ID, OTHER = "c" * 64, "d" * 64
MIXED = f"kubepods-burstable-pod{UID}.slice:cri-containerd:{ID}"
SYSTEMD = f"kubepods-burstable.slice/kubepods-burstable-pod{UID}.slice"
LOGIN = "user.slice/user-1000.slice/user@1000.service/app.slice/k3s-rootless.service"


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


def roots(tree: Path) -> set[str]:
    return {str(root.path.relative_to(tree)) for root in PodRoots(tree).known}


@pytest.mark.parametrize(
    "folder",
    [
        pytest.param("kubepods", id="cgroupfs driver"),
        pytest.param("kubepods.slice", id="systemd driver"),
        pytest.param("kubelet/kubepods", id="kind, cgroupfs driver"),
        pytest.param("kubelet.slice/kubelet-kubepods.slice", id="kind, systemd driver"),
        pytest.param("a.slice/a-b.slice/a-b-kubepods.slice", id="nested slices"),
        pytest.param("site/team/agents/k8s/kubepods", id="--cgroup-root some folders deep"),
        pytest.param(f"{LOGIN}/kubepods", id="rootless k3s"),
    ],
)
@pytest.mark.parametrize("layout", ["", "unified"], ids=["pure v2", "hybrid"])
def test_the_root_is_found_before_there_are_pods(tmp_path: Path, layout: str, folder: str) -> None:
    v2(tmp_path / layout, folder, "system.slice/containerd.service", "user.slice/user-0.slice")

    found = tmp_path / layout / folder
    assert PodRoots(tmp_path).known == [Cgroup(found.stat().st_ino, found)]


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        pytest.param(
            ["kubepods", f"kubepods.slice/{SYSTEMD}"],
            {"kubepods", "kubepods.slice"},
            id="the driver was changed, and the node not rebooted",
        ),
        pytest.param(["kubepods", "kubepods.slice"], {"kubepods", "kubepods.slice"}, id="none has pods yet"),
        pytest.param(
            ["kubepods", f"kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{UID}.slice"],
            {"kubepods", "kubelet.slice/kubelet-kubepods.slice"},
            id="the one with pods is not the nearest",
        ),
        pytest.param(["a/kubepods", "kubepods"], {"kubepods"}, id="of two without pods the nearest"),
        pytest.param([f"a/kubepods/pod{POD}", f"kubepods/pod{POD}"], {"kubepods"}, id="of two with pods the nearest"),
        pytest.param(
            [f"kubepods/pod{STATIC}/{ID}/kubelet/kubepods/pod{POD}/{OTHER}"], {"kubepods"}, id="a node inside a pod"
        ),
        pytest.param(
            [f"kubepods/pod{STATIC}/{ID}", f"system.slice/docker-{OTHER}.scope/kubelet/kubepods/pod{POD}/{'e' * 64}"],
            {"kubepods"},
            id="a node inside a container",
        ),
        pytest.param(
            [f"kubepods/pod{STATIC}/{ID}", f"user.slice/user-1000.slice/kubepods/pod{POD}/{OTHER}"],
            {"kubepods"},
            id="a login user's own, beside the kubelet's",
        ),
    ],
)
def test_several_roots_are_watched_at_once_but_no_other_s(
    tmp_path: Path, folders: list[str], expected: set[str]
) -> None:
    assert roots(v2(tmp_path, *folders)) == expected


@pytest.mark.parametrize(
    ("folder", "root"),
    [
        pytest.param(f"system.slice/containerd.service/{MIXED}", "system.slice/containerd.service", id="mixed drivers"),
        pytest.param(f"docker/kubepods-besteffort-pod{UID}.slice/{ID}", "docker", id="Docker on cgroupfs"),
        pytest.param(
            f"kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{UID}.slice/cri-containerd-{ID}.scope",
            "kubelet.slice/kubelet-kubepods.slice",
            id="another --cgroup-root since the start",
        ),
        pytest.param(f"{LOGIN}/kubepods/burstable/pod{POD}/{ID}", f"{LOGIN}/kubepods", id="rootless k3s"),
    ],
)
def test_a_container_that_is_below_no_root_shows_its_own(tmp_path: Path, folder: str, root: str) -> None:
    tree = v2(tmp_path, "kubepods")
    found = PodRoots(tree)
    (tree / folder).mkdir(parents=True)

    path = tree / root
    assert found.search({ID, OTHER}) == ([Cgroup(path.stat().st_ino, path)], {})
    assert [each.path for each in found.known] == [tree / "kubepods", path]
    assert found.search({ID}) == ([], {}), "once"


@pytest.mark.parametrize(
    "folder",
    [
        pytest.param(f"machine.slice/libpod-{ID}.scope", id="another runtime's"),
        pytest.param(f"kubepods/burstable/pod{POD}/libpod-{ID}.scope", id="in its pod, of an unknown runtime"),
        pytest.param(f"kubepods-burstable-pod{UID}.slice/{ID}", id="at the top, below which everything is"),
        pytest.param(f"a/b/{ID}", id="without its pod"),
    ],
)
def test_where_a_container_is_that_is_not_understood_is_said(tmp_path: Path, folder: str) -> None:
    tree = v2(tmp_path, "kubepods")
    found = PodRoots(tree)
    (tree / folder).mkdir(parents=True)

    assert found.search({ID}) == ([], {ID: f"/{folder}"})
    assert len(found.known) == 1


def test_a_login_user_cannot_take_a_container_away(tmp_path: Path) -> None:
    tree = v2(tmp_path, "kubepods", f"system.slice/containerd.service/{MIXED}", f"{LOGIN}/kubepods/pod{POD}/{ID}")
    found = PodRoots(tree)
    found.known[:] = [each for each in found.known if each.path == tree / "kubepods"]

    fresh, _ = found.search({ID})

    assert [each.path for each in fresh] == [tree / "system.slice/containerd.service"]


def test_roots_are_bounded(tmp_path: Path) -> None:
    tree = v2(tmp_path, "kubepods")
    found = PodRoots(tree)
    ids = [f"{number:064x}" for number in range(MOST_ROOTS)]
    for number, each in enumerate(ids):
        (tree / f"s{number}.service" / MIXED.replace(ID, each)).mkdir(parents=True)

    fresh, strange = found.search(ids)

    assert len(found.known) == MOST_ROOTS == len(fresh) + 1
    assert len(strange) == 1


def test_the_ebpf_program_takes_as_many_roots() -> None:
    header = (Path(program.__file__).parent / "cgroups.h").read_text()
    assert re.findall(r"#define MOST_ROOTS (\d+)", header) == [str(MOST_ROOTS)]


@pytest.mark.parametrize("controller", ["memory", "pids"])
def test_on_a_node_with_cgroup_v1_only_a_controller_s_tree_is_taken(tmp_path: Path, controller: Hierarchy) -> None:
    found = v1(tmp_path, controller, "kubepods.slice")

    assert PodRoots(tmp_path).known == [Cgroup(found.stat().st_ino, found, controller)]


def test_a_v2_tree_without_a_root_gives_way_to_v1(tmp_path: Path) -> None:
    v2(tmp_path / "unified", "system.slice")
    found = v1(tmp_path, "memory", "kubepods")
    v1(tmp_path, "pids", "kubepods")

    assert PodRoots(tmp_path).known == [Cgroup(found.stat().st_ino, found, "memory")]


@pytest.mark.parametrize(("pod", "hierarchy"), [("", "v2"), (f"/pod{POD}", "memory")], ids=["empty", "with pods"])
def test_the_v2_tree_goes_before_v1_unless_the_pods_are_there(tmp_path: Path, pod: str, hierarchy: str) -> None:
    v2(tmp_path / "unified", "kubepods")
    v1(tmp_path, "memory", f"kubepods{pod}")

    assert {each.hierarchy for each in PodRoots(tmp_path).known} == {hierarchy}


@pytest.mark.parametrize("folder", ["kubepods-besteffort.slice", "mykubepods"])
def test_other_folders_are_not_taken_for_a_root(tmp_path: Path, folder: str) -> None:
    v2(tmp_path / "unified", folder)
    v1(tmp_path, "pids", folder)

    with pytest.raises(
        SensorUnavailable, match=r"no kubepods cgroup in .*/unified, .*/pids; is this a node with a kubelet\?"
    ):
        PodRoots(tmp_path)


def test_a_folder_without_any_cgroup_tree_is_a_reason(tmp_path: Path) -> None:
    with pytest.raises(SensorUnavailable, match=r"no cgroup tree at .*, neither v2 nor v1: is /sys/fs/cgroup mounted"):
        PodRoots(tmp_path)
