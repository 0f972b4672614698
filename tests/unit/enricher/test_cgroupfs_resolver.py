"""Which container a cgroup is, of containers that stay and of those that are gone before they are looked at."""

from pathlib import Path

import pytest

from enricher.cgroup import NODE_CGROUP
from enricher.containers.cgroup_resolver import CgroupfsResolver
from enricher.containers.containers import NODE, CgroupRef, Containers
from enricher.containers.pod_roots import PodRoots
from enricher.events import ExecEvent, ExitEvent, Process

ID, POD = "c" * 64, "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
PROCESS, PARENT = Process(10, 100), Process(1, 1)
GONE = 99


@pytest.fixture
def kubepods(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.controllers").touch()
    folder = tmp_path / "kubepods"
    (folder / f"pod{POD}" / ("0" * 64)).mkdir(parents=True)
    return folder


@pytest.fixture
def cgroups(kubepods: Path) -> CgroupfsResolver:
    return CgroupfsResolver(PodRoots(kubepods.parent))


def execed(cgroup: int, name: str = "") -> ExecEvent:
    return ExecEvent(0, cgroup, name, PROCESS, PARENT, 0, 0, False, b"/bin/true", b"true\0", truncated=False)


def exited(cgroup: int) -> ExitEvent:
    return ExitEvent(1, cgroup, PROCESS, 0, None)


def test_a_container_that_stays_is_known_with_its_pod(kubepods: Path, cgroups: CgroupfsResolver) -> None:
    (folder := kubepods / f"pod{POD}" / ID).mkdir()

    assert cgroups.of(execed(folder.stat().st_ino, ID)) == CgroupRef(ID, POD)


def test_what_is_in_a_pod_and_no_container_is_the_runtimes_own(kubepods: Path, cgroups: CgroupfsResolver) -> None:
    """CRI-O's conmon watches a container from the pod's cgroup, and runs what is to enter it."""
    (folder := kubepods / f"pod{POD}" / f"crio-conmon-{ID}.scope").mkdir()

    ref = cgroups.of(execed(folder.stat().st_ino, folder.name))

    assert (ref.pod_uid, ref.sandbox) == (POD, True)


@pytest.mark.parametrize(("name", "sandbox"), [(ID, True), (f"crio-{ID}", False)], ids=["containerd", "CRI-O"])
def test_the_first_cgroup_of_a_pod_is_its_sandbox_but_with_cri_o(tmp_path: Path, name: str, sandbox: bool) -> None:
    (tmp_path / "cgroup.controllers").touch()
    folder = tmp_path / "kubepods" / f"pod{POD}" / name
    folder.mkdir(parents=True)

    ref = CgroupfsResolver(PodRoots(tmp_path)).of(execed(folder.stat().st_ino, name))

    assert ref == CgroupRef(ID, POD, sandbox=sandbox)


@pytest.mark.parametrize("inside", [".", "container"], ids=["runc", "crun"])
def test_a_container_is_named_by_a_process_that_is_still_in_it(
    inside: str, kubepods: Path, cgroups: CgroupfsResolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = kubepods / f"pod{POD}" / ID
    (folder / inside).mkdir(parents=True)
    (folder / "cgroup.procs").touch()
    (folder / inside / "cgroup.procs").write_text("11\n12\n")
    cgroups.scan()
    names: dict[int, str] = {}
    target = "enricher.containers.cgroup_resolver.container_name"
    monkeypatch.setattr(target, lambda pid, uid: names.get(pid, "") * (uid == POD))
    event = execed(folder.stat().st_ino, ID)

    assert cgroups.again(event) == cgroups.of(event) == CgroupRef(ID, POD)
    names[12] = "app"
    assert cgroups.again(event) == CgroupRef(ID, POD, name="app")
    assert cgroups.of(event) == CgroupRef(ID, POD, name="app")


def test_a_container_whose_processes_show_no_name_has_none(kubepods: Path, cgroups: CgroupfsResolver) -> None:
    (folder := kubepods / f"pod{POD}" / ID).mkdir()

    assert cgroups.again(execed(folder.stat().st_ino, ID)) == CgroupRef(ID, POD)


def test_exits_of_a_container_that_is_gone_keep_the_name_of_its_execs(cgroups: CgroupfsResolver) -> None:
    assert [cgroups.of(event) for event in (execed(GONE, ID), exited(GONE))] == [CgroupRef(ID)] * 2


def test_no_cgroup_that_is_gone_is_believed_to_be_a_container_that_is_there(
    kubepods: Path, cgroups: CgroupfsResolver
) -> None:
    (kubepods / f"pod{POD}" / ID).mkdir()
    cgroups.scan()

    assert [cgroups.of(event) for event in (execed(GONE, ID), exited(GONE))] == [CgroupRef(f"cgroup-{GONE}")] * 2


def test_an_exit_in_an_unknown_cgroup_is_in_no_known_container(cgroups: CgroupfsResolver) -> None:
    assert cgroups.of(exited(GONE)) == CgroupRef(f"cgroup-{GONE}")


def test_only_so_many_names_of_gone_containers_are_kept(cgroups: CgroupfsResolver) -> None:
    for cgroup in range(1000, 4000):
        cgroups.of(execed(cgroup, ID))

    assert (cgroups.of(exited(1000)), cgroups.of(exited(3999))) == (CgroupRef("cgroup-1000"), CgroupRef(ID))


def test_the_node_outside_of_all_pods_has_a_cgroup_too(cgroups: CgroupfsResolver) -> None:
    assert cgroups.of(execed(NODE_CGROUP)) == NODE
    assert cgroups.forget_gone() == []


def test_each_pod_has_its_own_sandbox_where_the_runtime_puts_all_side_by_side(
    kubepods: Path, cgroups: CgroupfsResolver
) -> None:
    """containerd on cgroupfs, the kubelet on systemd."""
    service = kubepods.parent / "system.slice/containerd.service"
    made = [(pod, id_) for pod in ("1" * 32, "2" * 32) for id_ in (pod[0] * 64, pod[0] * 63 + "f")]
    for pod, id_ in made:
        (service / f"kubepods-burstable-pod{pod}.slice:cri-containerd:{id_}").mkdir(parents=True)

    cgroups.search({id_ for _, id_ in made})
    cgroups.scan()

    found = {ref.container_id: (ref.pod_uid, ref.sandbox) for ref in cgroups.known.values()}
    first = {pod: min(service.glob(f"*{pod}*"), key=lambda each: each.stat().st_ino).name for pod, _ in made}
    assert {id_: (pod, first[pod].endswith(id_)) for pod, id_ in made}.items() <= found.items()


def test_what_runs_beside_containers_in_a_services_cgroup_is_in_no_pod(
    kubepods: Path, cgroups: CgroupfsResolver
) -> None:
    service = kubepods.parent / "system.slice/containerd.service"
    (service / f"kubepods-pod{'1' * 32}.slice:cri-containerd:{ID}").mkdir(parents=True)
    (other := service / "default:nerdctl:1").mkdir()
    cgroups.search({ID})

    ref = cgroups.of(execed(other.stat().st_ino, other.name))

    assert Containers().look(ref).recorded is False
