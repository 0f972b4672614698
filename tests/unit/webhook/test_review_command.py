"""Policies can be tested without a cluster: `python -m webhook review` answers as the webhook does."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webhook.offline.review import main

Load = Callable[..., dict[str, Any]]

OBJECTS = """
apiVersion: v1
kind: Namespace
metadata: {name: default, labels: {spo.x-k8s.io/enable-binding: "true", exectrail.io/profile: process-audit}}
---
apiVersion: v1
kind: List
items:
- apiVersion: security-profiles-operator.x-k8s.io/v1alpha1
  kind: ProfileBinding
  metadata: {name: box, namespace: default}
  spec: {image: "registry.example/busybox:*", profileRef: {kind: SeccompProfile, name: box}}
---
apiVersion: security-profiles-operator.x-k8s.io/v1beta1
kind: SeccompProfile
metadata: {name: box}
spec: {defaultAction: SCMP_ACT_LOG}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: other}
---
"""


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    (tmp_path / "policies.yaml").write_text(OBJECTS)
    return tmp_path / "policies.yaml"


@pytest.fixture
def pod(tmp_path: Path, review: Load) -> Path:
    (tmp_path / "pod.json").write_text(json.dumps(review("pod-create")))
    return tmp_path / "pod.json"


NOT_READY = (
    "  warning: exectrail: container 'r1' does not get that of ProfileBinding box: SeccompProfile 'box' is not ready:"
)
Patches = Callable[[dict[str, Any]], list[Any]]


def test_a_manifest_without_a_status_binds_and_the_answer_is_a_line(
    objects: Path, pod: Path, capsys: pytest.CaptureFixture[str], patch_of: Patches
) -> None:
    assert main(["--objects", str(objects), str(pod), str(pod)]) == 0

    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["response"]["allowed"] for answer in answers] == [True, True]
    profile = {"type": "Localhost", "localhostProfile": "operator/box.json"}
    path = "/spec/containers/0/securityContext"
    assert patch_of(answers[0]) == [{"op": "add", "path": path, "value": {"seccompProfile": profile}}]


def test_it_runs_as_a_command_and_reads_standard_input(objects: Path, pod: Path) -> None:
    command = [sys.executable, "-m", "webhook", "review", "--objects", str(objects), "--explain", "-"]
    done = subprocess.run(command, input=pod.read_bytes(), capture_output=True, check=False)

    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == [
        "-: pod default/r1: bound",
        (
            "  container 'r1' (registry.example/busybox:1): Localhost operator/box.json, by ProfileBinding box for "
            "registry.example/busybox:*"
        ),
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            ("busybox:*", "busybox:2"),
            [
                "pod default/r1: bound",
                (
                    "  container 'r1' (registry.example/busybox:1): Localhost exectrail/process-audit.json, by the "
                    "namespace's label exectrail.io/profile=process-audit"
                ),
            ],
        ),
        (
            ("defaultAction: SCMP_ACT_LOG}", "state: Disabled}\nstatus: null"),
            [
                "pod default/r1: bound",
                (
                    "  container 'r1' (registry.example/busybox:1): Localhost exectrail/process-audit.json, by the "
                    "namespace's label exectrail.io/profile=process-audit"
                ),
                f"{NOT_READY} its status is 'Disabled'",
            ],
        ),
        (
            ("spec: {defaultAction", "status: {status: Pending}\nspec: {defaultAction"),
            [
                "pod default/r1: bound",
                (
                    "  container 'r1' (registry.example/busybox:1): Localhost exectrail/process-audit.json, by the "
                    "namespace's label exectrail.io/profile=process-audit"
                ),
                f"{NOT_READY} its status is 'Pending'",
            ],
        ),
        (
            ("name: default, labels", "name: shop, labels"),
            [
                "pod default/r1: label-unknown",
                (
                    "  warning: exectrail: pod admitted without an audit profile: the label exectrail.io/profile or "
                    "spo.x-k8s.io/enable-binding of namespace default is not known here yet"
                ),
            ],
        ),
    ],
)
def test_explain_says_what_becomes_of_each_container_and_why(
    objects: Path, pod: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str], expected: list[str]
) -> None:
    objects.write_text(OBJECTS.replace(*change))

    assert main(["--objects", str(objects), "--explain", str(pod)]) == 0

    first, *others = expected
    assert capsys.readouterr().out.splitlines() == [f"{pod}: {first}", *others]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("name: box, namespace: default", "name: box"), "ProfileBinding 'box': metadata.namespace is missing"),
        (('image: "registry.example/busybox:*", ', ""), "ProfileBinding 'box': spec.image and spec.profileRef.name"),
        (("metadata: {name: box}\n", "metadata: {}\n"), "SeccompProfile None: metadata.name is missing"),
        (("spec: {image", "spec: [image"), "while parsing a flow sequence"),
        (("kind: Deployment", "kind: [Deployment"), "while parsing"),
        (('spo.x-k8s.io/enable-binding: "true"', "a: 1"), "Namespace 'default': Expected `str`, got `int`"),
        (
            ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: other}", "- words"),
            "expected an object of the API",
        ),
    ],
)
def test_objects_that_cannot_be_read_are_named(
    objects: Path, pod: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str], why: str
) -> None:
    assert change[0] in OBJECTS
    objects.write_text(OBJECTS.replace(*change))

    assert main(["--objects", str(objects), str(pod)]) == 2

    said = capsys.readouterr()
    assert (said.out, said.err.startswith(f"{objects}: ")) == ("", True)
    assert why in said.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "profiles.allowUnconfined installs it"),
        (["--allow-unconfined"], "Localhost exectrail/process-audit-only.json, by the namespace's label"),
    ],
)
def test_the_profile_that_refuses_nothing_takes_an_option(
    objects: Path, pod: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    changed = OBJECTS.replace("exectrail.io/profile: process-audit", "exectrail.io/profile: process-audit-only")
    objects.write_text(changed.replace("busybox:*", "busybox:2"))

    assert main(["--objects", str(objects), "--explain", *options, str(pod)]) == 0

    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (("defaultAction: SCMP_ACT_LOG}", "disabled: true}"), "Disabled"),
        (("metadata: {name: box}\n", "metadata: {name: box, labels: {spo.x-k8s.io/partial: 'true'}}\n"), "Partial"),
    ],
)
def test_a_manifest_of_a_profile_that_no_node_is_to_have_does_not_bind(
    objects: Path, pod: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str], state: str
) -> None:
    assert change[0] in OBJECTS
    objects.write_text(OBJECTS.replace(*change))

    assert main(["--objects", str(objects), "--explain", str(pod)]) == 0

    assert f"{NOT_READY} its status is '{state}'" in capsys.readouterr().out.splitlines()


def test_a_profile_in_error_binds_while_it_is_available(
    objects: Path, pod: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conditions = "conditions: [{type: Ready, status: 'False'}, {type: Available, status: 'True'}]"
    status = f"{{status: Error, localhostProfile: operator/box.json, {conditions}}}"
    objects.write_text(OBJECTS.replace("spec: {defaultAction", f"status: {status}\nspec: {{defaultAction"))

    assert main(["--objects", str(objects), "--explain", str(pod)]) == 0

    assert "Localhost operator/box.json, by ProfileBinding box" in capsys.readouterr().out


def test_a_missing_file_of_objects_is_named(tmp_path: Path, pod: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--objects", str(tmp_path / "none.yaml"), str(pod)]) == 2
    assert "none.yaml" in capsys.readouterr().err


def test_a_review_that_cannot_be_read_is_named_and_the_others_are_answered(
    objects: Path, pod: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bad := tmp_path / "bad.json").write_text("{}")

    assert main(["--objects", str(objects), str(bad), str(tmp_path / "none.json"), str(pod)]) == 1

    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 1
    assert f"{bad}: not an AdmissionReview of admission.k8s.io/v1" in said.err
    assert "none.json" in said.err


def test_no_pod_of_the_release_is_changed(
    objects: Path, pod: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(pod.read_bytes())))

    assert main(["--objects", str(objects), "--namespace", "default", "--explain", "-"]) == 0

    assert capsys.readouterr().out == "-: pod default/r1: release-namespace\n"
