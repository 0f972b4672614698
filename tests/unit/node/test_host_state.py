"""What `down` reads from the host, and what it takes away."""

from pathlib import Path

import pytest

from tests.cluster.node import host
from tests.cluster.node.firewall import parse_chains, removal
from tests.cluster.node.mounts import parse_mountinfo

SAVED = """\
*filter
:INPUT ACCEPT [0:0]
:KUBE-FORWARD - [0:0]
:DOCKER - [0:0]
-A INPUT -p tcp -j DOCKER
-A INPUT -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
COMMIT
*nat
:POSTROUTING ACCEPT [0:0]
:CNI-1a2b - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-SERVICES - [0:0]
-A POSTROUTING -s 10.244.0.2/32 -m comment --comment "name: \\"exectrail\\" id: \\"7\\"" -j CNI-1a2b
-A KUBE-SERVICES -j KUBE-MARK-MASQ
COMMIT
"""


def test_chains_are_named_with_their_table() -> None:
    assert parse_chains(SAVED) == {
        "filter/KUBE-FORWARD",
        "nat/CNI-1a2b",
        "nat/KUBE-MARK-MASQ",
        "nat/KUBE-SERVICES",
    }


def test_rules_into_our_chains_go_before_the_chains_and_other_chains_stay() -> None:
    assert removal(SAVED, keep=()).splitlines() == [
        "*filter",
        '-D INPUT -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
        "-F KUBE-FORWARD",
        "-X KUBE-FORWARD",
        "COMMIT",
        "*nat",
        '-D POSTROUTING -s 10.244.0.2/32 -m comment --comment "name: \\"exectrail\\" id: \\"7\\"" -j CNI-1a2b',
        "-F CNI-1a2b",
        "-F KUBE-MARK-MASQ",
        "-F KUBE-SERVICES",
        "-X CNI-1a2b",
        "-X KUBE-MARK-MASQ",
        "-X KUBE-SERVICES",
        "COMMIT",
    ]


def test_chains_that_were_there_before_the_node_stay() -> None:
    assert removal(SAVED, keep=parse_chains(SAVED)) == ""
    assert "FORWARD" not in removal(SAVED, keep={"filter/KUBE-FORWARD"})


def test_mount_points_are_read_with_any_number_of_optional_fields() -> None:
    text = (
        "36 35 98:0 /mnt1 /mnt/a\\040b rw,noatime master:1 shared:2 - ext3 /dev/root rw\n"
        "22 35 0:20 / /sys/kernel/tracing rw - tracefs tracefs rw\n"
    )
    assert parse_mountinfo(text) == [
        (Path("/mnt/a b"), "ext3"),
        (Path("/sys/kernel/tracing"), "tracefs"),
    ]


@pytest.mark.parametrize(
    ("before", "left"),
    [
        (None, set()),
        (["old"], {"old"}),
        (["old", "new"], {"old", "new"}),
    ],
)
def test_only_what_was_not_there_before_is_removed(tmp_path: Path, before: list[str] | None, left: set[str]) -> None:
    folder = tmp_path / "kubelet"
    (folder / "new").mkdir(parents=True)
    (folder / "new/file").touch()
    (folder / "old").touch()
    host._remove_new(folder, before)
    assert {entry.name for entry in folder.glob("*")} == left
    assert folder.exists() == (before is not None)
