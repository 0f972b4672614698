"""Which container of its pod a process is in, by what the kubelet has mounted into it."""

from pathlib import Path

import pytest

from enricher.containers.container_name import container_name

UID, OTHER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "9c858901-8a57-4791-81fe-4c455b099bc9"
ROOT = "612 401 0:58 / / rw,relatime master:210 - overlay overlay rw,lowerdir=/a:/b,upperdir=/c,workdir=/d"
HOSTS = f"640 612 253:0 /var/lib/kubelet/pods/{UID}/etc-hosts /etc/hosts rw,relatime - ext4 /dev/vda rw"


def log_of(name: str, uid: str = UID, above: str = "/var/lib/kubelet", at: str = "/dev/termination-log") -> str:
    return f"641 612 253:0 {above}/pods/{uid}/containers/{name}/1a2b3c4d {at} rw,relatime - ext4 /dev/vda rw"


@pytest.mark.parametrize(
    ("mounts", "name"),
    [
        ([ROOT, HOSTS, log_of("app")], "app"),
        ([ROOT, log_of("app", above="")], "app"),
        ([ROOT, log_of("app", at="/tmp/why")], "app"),
        ([ROOT, log_of("app"), log_of("app", at="/proc/x")], "app"),
        ([ROOT, HOSTS], ""),
        ([], ""),
        ([ROOT, log_of("app", uid=OTHER)], ""),
        ([ROOT, log_of("app"), log_of("proxy", at="/mnt/log")], ""),
        ([ROOT, log_of("../../x")], ""),
        ([ROOT, log_of("app").replace("1a2b3c4d", "1a2b3c4d/more")], ""),
        ([f"{ROOT} {log_of('app').split()[3]}"], ""),
    ],
    ids=[
        "as the kubelet mounts it",
        "the kubelet's folder is a file system of its own",
        "the pod chose another path",
        "mounted twice",
        "no termination log",
        "no mounts",
        "of another pod",
        "of two containers",
        "no name of a container",
        "below such a file",
        "a path among a mount's options",
    ],
)
def test_the_name_is_that_of_the_containers_termination_log(tmp_path: Path, mounts: list[str], name: str) -> None:
    (tmp_path / "42").mkdir()
    (tmp_path / "42/mountinfo").write_text("".join(f"{line}\n" for line in mounts))

    assert container_name(42, UID, tmp_path) == name


def test_of_a_process_that_is_gone_nothing_is_known(tmp_path: Path) -> None:
    assert container_name(42, UID, tmp_path) == ""
