"""Which container a `/proc/PID/cgroup` shows."""

from pathlib import Path

import pytest

from enricher.containers.containers import CgroupRef
from enricher.containers.proc_cgroups import OUTSIDE, ProcCgroupResolver

POD = "11111111-2222-3333-4444-555555555555"
FIRST, SECOND = "a" * 64, "b" * 64


@pytest.fixture
def cgroups(tmp_path: Path) -> ProcCgroupResolver:
    (tmp_path / "cgroup.controllers").touch()
    pod = tmp_path / "kubepods" / "burstable" / f"pod{POD}"
    folders = [pod / FIRST, pod / SECOND]
    for folder in folders:
        folder.mkdir(parents=True)
    return ProcCgroupResolver(tmp_path)


def sandbox_of(root: Path) -> str:
    pod = root / "kubepods" / "burstable" / f"pod{POD}"
    return min(pod.iterdir(), key=lambda folder: folder.stat().st_ino).name


@pytest.mark.parametrize(
    "path", ["/kubepods/burstable/pod{}/{}", "/../../../burstable/pod{}/{}", "/kubepods/burstable/pod{}/{}/inside"]
)
def test_a_container_is_distinguished_from_the_pods_sandbox_wherever_the_path_begins(
    tmp_path: Path, cgroups: ProcCgroupResolver, path: str
) -> None:
    known = {cgroups.number(f"0::{path.format(POD, each)}\n") for each in (FIRST, SECOND)}

    sandbox = sandbox_of(tmp_path)
    assert {cgroups.known[each] for each in known} == {
        CgroupRef(each, POD, sandbox=each == sandbox) for each in (FIRST, SECOND)
    }


def test_cgroup_v1_shows_the_container_as_well(tmp_path: Path) -> None:
    cgroups = ProcCgroupResolver(tmp_path)  # no v2 tree here

    number = cgroups.number(f"4:pids:/kubepods/burstable/pod{POD}/{FIRST}\n1:name=systemd:/kubepods/pod{POD}/{FIRST}\n")

    assert cgroups.known[number] == CgroupRef(FIRST, POD)


def test_what_is_in_no_pod_is_outside(cgroups: ProcCgroupResolver) -> None:
    assert cgroups.number("0::/system.slice/sshd.service\n") == OUTSIDE


def test_a_number_is_not_used_again(cgroups: ProcCgroupResolver) -> None:
    text = f"0::/kubepods/burstable/pod{POD}/{FIRST}\n"
    first = cgroups.number(text)

    assert [ref.container_id for ref in cgroups.forget_gone(lambda _number: False)] == [FIRST]
    assert cgroups.number(text) != first


def test_a_container_is_gone_with_its_folder(tmp_path: Path, cgroups: ProcCgroupResolver) -> None:
    cgroups.number(f"0::/kubepods/burstable/pod{POD}/{FIRST}\n")
    was_there = cgroups.is_there(FIRST)
    (tmp_path / "kubepods" / "burstable" / f"pod{POD}" / FIRST).rmdir()

    assert was_there
    assert not cgroups.is_there(FIRST)
    assert not cgroups.is_there(SECOND), "no process of it was seen"


def test_a_pod_in_a_logins_slice_counts_once_a_pod_of_this_node_is_there(tmp_path: Path) -> None:
    """Rootless k3s. Who has logged in may make cgroups of any name."""
    (tmp_path / "cgroup.controllers").touch()
    (tmp_path / "kubepods").mkdir()
    cgroups = ProcCgroupResolver(tmp_path)
    path = f"user.slice/user-1000.slice/user@1000.service/app.slice/k3s.service/kubepods/burstable/pod{POD}/{FIRST}"
    (tmp_path / path).mkdir(parents=True)
    before = cgroups.number(f"0::/{path}\n")
    assert cgroups.search({FIRST}) == {}

    number = cgroups.number(f"0::/{path}\n")

    assert before == OUTSIDE
    assert cgroups.known[number] == CgroupRef(FIRST, POD, sandbox=True)
