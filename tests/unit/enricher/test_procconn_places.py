"""Which container a `/proc/PID/cgroup` tells of."""

from pathlib import Path

import pytest

from enricher.containers.containers import CgroupRef
from enricher.containers.proc_cgroups import OUTSIDE, ProcCgroupResolver

POD = "11111111-2222-3333-4444-555555555555"
FIRST, SECOND = "a" * 64, "b" * 64


@pytest.fixture
def places(tmp_path: Path) -> ProcCgroupResolver:
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
def test_a_container_is_told_from_the_pods_sandbox_wherever_the_path_begins(
    tmp_path: Path, places: ProcCgroupResolver, path: str
) -> None:
    known = {places.number(f"0::{path.format(POD, each)}\n") for each in (FIRST, SECOND)}

    sandbox = sandbox_of(tmp_path)
    assert {places.known[each] for each in known} == {
        CgroupRef(each, POD, sandbox=each == sandbox) for each in (FIRST, SECOND)
    }


def test_cgroup_v1_tells_the_container_as_well(tmp_path: Path) -> None:
    places = ProcCgroupResolver(tmp_path)  # no v2 tree here

    number = places.number(f"4:pids:/kubepods/burstable/pod{POD}/{FIRST}\n1:name=systemd:/kubepods/pod{POD}/{FIRST}\n")

    assert places.known[number] == CgroupRef(FIRST, POD)


def test_what_is_in_no_pod_is_outside(places: ProcCgroupResolver) -> None:
    assert places.number("0::/system.slice/sshd.service\n") == OUTSIDE


def test_a_number_is_not_used_again(places: ProcCgroupResolver) -> None:
    text = f"0::/kubepods/burstable/pod{POD}/{FIRST}\n"
    first = places.number(text)

    assert [place.container_id for place in places.keep(set())] == [FIRST]
    assert places.number(text) != first
