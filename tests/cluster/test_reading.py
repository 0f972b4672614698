"""What a user sees of it: the exectrail command against the real cluster."""

from pathlib import Path

from .cluster import Cluster
from .product import TRAIL
from .sessions import Person, closed


def test_a_session_is_listed_and_shown_from_the_cluster(alice: Person, recorded: str) -> None:
    uid, _ = alice.executes(recorded, "sh", "-c", "id; exit 5", code=5)
    closed(uid)

    listed = alice.admin.exectrail("sessions", "--namespace", recorded, "--user", "alice").stdout
    shown = alice.admin.exectrail("show", uid).stdout

    assert uid in listed
    for words in ("alice", "dev, oncall", "recorded/web/app", "sh -c 'id; exit 5'", "exit 5", "└── id"):
        assert words in shown


def test_a_session_is_shown_from_the_trail_alone(alice: Person, recorded: str, tmp_path: Path) -> None:
    uid, _ = alice.executes(recorded, "sh", "-c", "id; exit 5", code=5)
    copy = tmp_path / "trail.jsonl"
    copy.write_bytes(Path(TRAIL).read_bytes())

    from_file = alice.admin.exectrail("show", uid, str(copy)).stdout
    from_input = alice.admin.exectrail("show", uid, "-", stdin=copy.read_text()).stdout

    assert "└── id" in from_file
    assert from_file == from_input


def test_it_is_found_as_a_plugin_of_kubectl(admin: Cluster, tmp_path: Path) -> None:
    plugin = tmp_path / "kubectl-exectrail"
    plugin.write_text('#!/bin/sh\nexec python3 -m exectrail "$@"\n')
    plugin.chmod(0o755)

    done = admin.run("env", f"PATH={tmp_path}:{admin.env['PATH']}", "kubectl", "exectrail", "--help")

    assert "sessions" in done.stdout


def test_an_unknown_uid_is_answered_with_the_nearest(alice: Person, recorded: str) -> None:
    uid, _ = alice.executes(recorded, "true")
    mistyped = uid[:-1] + ("0" if uid[-1] != "0" else "1")

    done = alice.admin.exectrail("show", mistyped, check=False)

    assert done.returncode == 1
    assert uid in done.stderr


def test_a_cluster_that_cannot_be_reached_is_named(admin: Cluster, tmp_path: Path) -> None:
    elsewhere = tmp_path / "kubeconfig"
    elsewhere.write_text(Path(admin.env["KUBECONFIG"]).read_text().replace(":6443", ":1"))

    done = admin.exectrail("sessions", "--kubeconfig", str(elsewhere), check=False)

    assert done.returncode == 2
    assert "127.0.0.1:1" in done.stderr


def test_a_user_without_rights_sees_what_is_missing(alice: Person) -> None:
    done = alice.cluster.exectrail("sessions", check=False)

    assert done.returncode == 2
    assert "auditsessions" in done.stderr
