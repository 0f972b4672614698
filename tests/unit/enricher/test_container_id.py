import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from enricher.containers import container_id

ID = "3f1c0b8e5d7a49628e4f1b7c9a2d6e80f5b3c1d4a7e9206b8d5f3a1c7e9b2d40"
OTHER = "a" * 64
UID = "0f8e6a52-3c1d-4b7a-9e05-7d2c4f6b8a19"
SLICE_UID = UID.replace("-", "_")
STATIC = "5e3f1a7c9b2d4e6f8a0c1d3b5f7e9a2c"

BURSTABLE = f"kubepods-burstable-pod{SLICE_UID}.slice"
SYSTEMD = f"/kubepods.slice/kubepods-burstable.slice/{BURSTABLE}"
CGROUPFS = f"/kubepods/besteffort/pod{UID}"

CONTAINERS = {
    "containerd, systemd": f"{SYSTEMD}/cri-containerd-{ID}.scope",
    "containerd, systemd, guaranteed": f"/kubepods.slice/kubepods-pod{SLICE_UID}.slice/cri-containerd-{ID}.scope",
    "containerd, cgroupfs": f"{CGROUPFS}/{ID}",
    "containerd, cgroupfs, guaranteed": f"/kubepods/pod{UID}/{ID}",
    "containerd on cgroupfs, kubelet on systemd": f"/system.slice/containerd.service/{BURSTABLE}:cri-containerd:{ID}",
    "the same without a service": f"/{BURSTABLE}:cri-containerd:{ID}",
    "CRI-O, systemd": f"{SYSTEMD}/crio-{ID}.scope",
    "CRI-O with crun": f"{SYSTEMD}/crio-{ID}.scope/container",
    "CRI-O, cgroupfs": f"{CGROUPFS}/crio-{ID}",
    "cri-dockerd, systemd": f"{SYSTEMD}/docker-{ID}.scope",
    "cri-dockerd, cgroupfs": f"{CGROUPFS}/{ID}",
    "kind, v2": "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/"
    f"kubelet-{BURSTABLE}/cri-containerd-{ID}.scope",
    "kind, v1": f"/docker/{OTHER}/kubelet/kubepods/burstable/pod{UID}/{ID}",
    "kind, v1 and systemd": f"/docker/{OTHER}/kubelet.slice/kubelet-kubepods.slice/kubelet-{BURSTABLE}/"
    f"cri-containerd-{ID}.scope",
    "k3s": f"/kubepods/burstable/pod{UID}/{ID}",
    "k3s, mixed drivers": f"/system.slice/k3s.service/{BURSTABLE}:cri-containerd:{ID}",
    "microk8s": f"/kubepods/besteffort/pod{UID}/{ID}",
    "cgroup root of its own": f"/tenants/kubepods/burstable/pod{UID}/{ID}",
    "systemd in the container": f"{SYSTEMD}/cri-containerd-{ID}.scope/init.scope",
    "a service of systemd in the container": f"{CGROUPFS}/{ID}/system.slice/nginx.service",
    "mixed drivers and systemd in the container": f"/{BURSTABLE}:cri-containerd:{ID}/system.slice/nginx.service",
    "Docker in the container": f"{CGROUPFS}/{ID}/docker/{OTHER}",
    "kind in the container": f"{CGROUPFS}/{ID}/kubelet/kubepods/burstable/pod{STATIC}/{OTHER}",
    "a container's cgroup that is already removed": f"{CGROUPFS}/{ID} (deleted)",
    "from a cgroup namespace, systemd": f"/../../{BURSTABLE}/cri-containerd-{ID}.scope",
    "from a cgroup namespace, systemd, other class": f"/../../../kubepods-besteffort.slice/"
    f"kubepods-besteffort-pod{SLICE_UID}.slice/cri-containerd-{ID}.scope",
    "from a cgroup namespace, cgroupfs": f"/../../pod{UID}/{ID}",
    "from a cgroup namespace, cgroupfs, other class": f"/../../../besteffort/pod{UID}/{ID}",
    "from a cgroup namespace, cgroupfs, outside": f"/../../../../kubepods/besteffort/pod{UID}/{ID}",
}

OTHERS = {
    "root": "/",
    "empty": "",
    "a pod": CGROUPFS,
    "a pod's slice": SYSTEMD,
    "CRI-O's monitor": f"{SYSTEMD}/crio-conmon-{ID}.scope",
    "CRI-O's monitor, cgroupfs": f"{CGROUPFS}/crio-conmon-{ID}",
    "CRI-O's monitor, whatever is below": f"{SYSTEMD}/crio-conmon-{ID}.scope/kubepods/pod{UID}/{OTHER}",
    "Docker outside of Kubernetes": f"/docker/{ID}",
    "Docker outside of Kubernetes, systemd": f"/system.slice/docker-{ID}.scope",
    "Podman": f"/machine.slice/libpod-{ID}.scope",
    "a user's scope": f"/user.slice/user-1000.slice/user@1000.service/app.slice/cri-containerd-{ID}.scope",
    "a user who builds the kubelet's slices": f"/user.slice/user-1000.slice/user@1000.service{SYSTEMD}/"
    f"cri-containerd-{ID}.scope",
    "a user who builds the kubelet's folders": f"/user.slice/user-1000.slice{CGROUPFS}/{ID}",
    "a user who is seen from a cgroup namespace": f"/../../../../user.slice/user-1000.slice/pod{UID}/{ID}",
    "a service's 64 hex digits": f"/system.slice/backup.service/{ID}",
    "a pod's folder without kubepods": f"/system.slice/pod{UID}/{ID}",
    "a look-alike of kubepods": f"/mykubepods/pod{UID}/{ID}",
    "too few digits": f"{CGROUPFS}/{ID[:-1]}",
    "too many digits": f"{CGROUPFS}/{ID}0",
    "capital digits": f"{CGROUPFS}/{ID.upper()}",
    "a folder between pod and container": f"{CGROUPFS}/sub/{ID}",
    "a pod's name that goes on": f"/kubepods/pod{UID}x/{ID}",
    "a scope that goes on": f"{SYSTEMD}/cri-containerd-{ID}.scope.d",
    "a container's name over two lines": f"{CGROUPFS}/{ID}\n",
}


@pytest.mark.parametrize("path", CONTAINERS.values(), ids=CONTAINERS)
def test_the_container_is_found_in_every_known_form_of_path(path: str) -> None:
    assert container_id.from_cgroup_path(path) == ID


@pytest.mark.parametrize("path", CONTAINERS.values(), ids=CONTAINERS)
def test_the_pod_uid_is_found_in_every_known_form_of_path(path: str) -> None:
    assert container_id.pod_uid(path) == UID


@pytest.mark.parametrize("path", OTHERS.values(), ids=OTHERS)
def test_nothing_else_is_taken_for_a_container(path: str) -> None:
    assert container_id.from_cgroup_path(path) is None


def test_a_pods_own_cgroup_has_a_pod_uid_and_no_container() -> None:
    assert container_id.pod_uid(SYSTEMD) == UID
    assert container_id.pod_uid(f"{SYSTEMD}/crio-conmon-{ID}.scope") == UID
    assert container_id.pod_uid("/kubepods.slice/kubepods-burstable.slice") is None


def test_a_static_pod_has_the_hash_of_its_manifest_for_a_uid() -> None:
    path = f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{STATIC}.slice/cri-containerd-{ID}.scope"
    assert container_id.pod_uid(path) == STATIC
    assert container_id.from_cgroup_path(path) == ID


V1 = f"12:memory:{CGROUPFS}/{ID}\n11:cpu,cpuacct:{CGROUPFS}/{ID}\n1:name=systemd:{CGROUPFS}/{ID}\n"

FILES = {
    "v2": (f"0::{SYSTEMD}/cri-containerd-{ID}.scope\n", ID),
    "v1": (V1, ID),
    "hybrid": (f"{V1}0::/\n", ID),
    "hybrid, known to systemd alone": (f"4:pids:/\n1:name=systemd:{SYSTEMD}/docker-{ID}.scope\n0::/\n", ID),
    "mixed drivers, with colons in the path": (f"11:memory:/{BURSTABLE}:cri-containerd:{ID}\n", ID),
    "a process of the node": ("0::/system.slice/sshd.service\n", None),
    "hierarchies that disagree": (f"{V1}0::{CGROUPFS}/{OTHER}\n", None),
    "no newline at the end": (f"0::{CGROUPFS}/{ID}", ID),
    "a folder named over what Unicode calls lines": (f"0::{CGROUPFS}/{ID}/\x0b0::{CGROUPFS}/{OTHER}\n", ID),
    "empty": ("", None),
    "no cgroup file": ("nonsense\n", None),
}


@pytest.mark.parametrize(("text", "container"), FILES.values(), ids=FILES)
def test_a_process_is_in_the_container_that_its_cgroup_file_names(text: str, container: str | None) -> None:
    assert container_id.from_cgroup_file(text) == container


@pytest.mark.parametrize(
    ("name", "container"),
    [
        (f"cri-containerd-{ID}.scope", ID),
        (f"crio-{ID}.scope", ID),
        (f"crio-{ID}", ID),
        (f"docker-{ID}.scope", ID),
        (ID, ID),
        (f"{BURSTABLE}:cri-containerd:{ID}", ID),
        (f"crio-conmon-{ID}.scope", None),
        (f"libpod-{ID}.scope", None),
        (f"any:cri-containerd:{ID}", None),
        (BURSTABLE, None),
        ("init.scope", None),
        ("", None),
    ],
)
def test_a_containers_own_folder_names_it(name: str, container: str | None) -> None:
    assert container_id.from_folder(name) == container


@given(st.sampled_from(sorted(CONTAINERS)), st.text())
@example("containerd, cgroupfs", f"kubepods/besteffort/pod{UID}/{OTHER}")
@example("containerd, systemd", f"{BURSTABLE}/crio-{OTHER}.scope")
def test_a_container_cannot_leave_its_id_behind_by_making_cgroups_of_its_own(form: str, below: str) -> None:
    path = CONTAINERS[form].removesuffix(" (deleted)")
    assert container_id.from_cgroup_path(f"{path}/{below}") == ID


@given(
    st.text()
    | st.lists(st.sampled_from(["/", ":", "0::", "..", "\n", ID, f"pod{UID}", "kubepods", BURSTABLE])).map("".join)
)
def test_no_text_of_a_cgroup_file_raises(text: str) -> None:
    assert container_id.from_cgroup_file(text) in {None, ID}
