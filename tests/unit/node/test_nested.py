"""Which cgroup trees the container of `make test-nested` gets: each that the machine has."""

from pathlib import Path

import pytest

from tests.nested.trees import Tree, parse_mounts

V2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate,memory_recursiveprot 0 0\n"
HYBRID = """\
tmpfs /sys/fs/cgroup tmpfs ro,nosuid,nodev,noexec,size=4096k,mode=755 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,nosuid,nodev,noexec,relatime,xattr,name=systemd 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,nodev,noexec,relatime,cpu,cpuacct 0 0
cgroup /mnt/elsewhere cgroup rw,relatime,pids 0 0
"""


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        (V2, [("/sys/fs/cgroup", "cgroup2", "")]),
        (
            HYBRID,
            [
                ("/sys/fs/cgroup/unified", "cgroup2", ""),
                ("/sys/fs/cgroup/systemd", "cgroup", "name=systemd"),
                ("/sys/fs/cgroup/cpu,cpuacct", "cgroup", "cpu,cpuacct"),
            ],
        ),
        ("proc /proc proc rw,nosuid 0 0\n", []),
    ],
    ids=["v2", "hybrid", "none"],
)
def test_each_tree_is_mounted_again_by_its_kind_and_controllers(
    mounts: str, expected: list[tuple[str, str, str]]
) -> None:
    found = parse_mounts(mounts, {"cpu", "cpuacct", "pids", "memory"})

    assert found == [Tree(Path(point), kind, controllers) for point, kind, controllers in expected]
