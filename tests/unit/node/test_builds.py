"""What the node is built from is pinned, built once and never half there."""

import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from tests.cluster.node import cache, mounts, oci, product
from tests.cluster.node.components import (
    CERT_MANAGER_BUILD,
    COLLECTOR_BUILD,
    HELM_BUILD,
    HYPERKUBE_BUILD,
    KUBECTL_BUILD,
    LOKI_BUILD,
    GoBuild,
)
from tests.cluster.node.errors import NodeError
from tests.cluster.node.imports import archive_images
from tests.cluster.node.version import parse_version


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "CACHE", tmp_path / "cache")


@pytest.mark.parametrize(
    ("component", "module"),
    [
        (HYPERKUBE_BUILD, "k8s.io/kubernetes"),
        (KUBECTL_BUILD, "k8s.io/kubernetes"),
        (HELM_BUILD, "helm.sh/helm/v4"),
        (CERT_MANAGER_BUILD, "github.com/cert-manager/cert-manager"),
        (LOKI_BUILD, "github.com/grafana/loki/v3"),
        (COLLECTOR_BUILD, "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/filelogreceiver"),
    ],
    ids=lambda value: value.name if isinstance(value, GoBuild) else "",
)
def test_go_mod_pins_the_version_that_the_table_names(component: GoBuild, module: str) -> None:
    assert f"\t{module} v{component.version}" in (component.module / "go.mod").read_text()
    assert f"{module} v{component.version} h1:" in (component.module / "go.sum").read_text()


def empty(folder: Path) -> None:
    """A build that makes nothing."""


def test_a_build_is_made_once_and_again_when_its_inputs_change() -> None:
    made: list[Path] = []
    first = cache.cached("tool", "1-a", made.append)
    assert cache.cached("tool", "1-a", made.append) == first
    second = cache.cached("tool", "1-b", made.append)
    assert len(made) == 2
    assert second.is_dir()
    assert not first.exists()


def test_a_failed_build_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise NodeError("compiler")

    with pytest.raises(NodeError, match="compiler"):
        cache.cached("tool", "1", fail)
    assert list((tmp_path / "cache/tool").iterdir()) == []


@pytest.fixture
def killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a build that was killed. The machine's /dev is mounted in it."""
    dev = tmp_path / "cache/tool/.partial-killed/root/dev"
    dev.mkdir(parents=True)
    (dev / "sda").touch()
    monkeypatch.setattr(mounts, "within", lambda folders: [dev] if dev.is_relative_to(*folders) else [])
    return dev.parents[1]


def test_what_a_killed_build_has_mounted_is_taken_away_before_its_folder(
    killed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def umount(*argv: str | Path) -> None:
        assert argv == ("umount", "--lazy", killed / "root/dev")
        (killed / "root/dev/sda").rename(killed.parents[2] / "sda")

    monkeypatch.setattr(cache, "run", umount)
    cache.cached("tool", "1", empty)

    assert not killed.exists()
    assert (killed.parents[2] / "sda").exists()


def test_nothing_is_removed_where_a_mount_stays(killed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def umount(*argv: str | Path) -> None:
        raise NodeError("umount: must be superuser")

    monkeypatch.setattr(cache, "run", umount)
    with pytest.raises(NodeError, match="superuser"):
        cache.cached("tool", "1", empty)

    assert (killed / "root/dev/sda").exists()


def test_who_asks_for_a_build_that_is_being_made_waits_for_it() -> None:
    made: list[Path] = []
    begun, go_on = Event(), Event()

    def make(folder: Path) -> None:
        made.append(folder)
        begun.set()
        assert go_on.wait(60)
        (folder / "program").touch()

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(cache.cached, "tool", "1", make)
        assert begun.wait(60)
        second = threads.submit(cache.cached, "tool", "1", make)
        go_on.set()
        assert first.result(60) == second.result(60)
    assert len(made) == 1
    assert (first.result() / "program").exists()


def test_the_digest_changes_with_content_name_and_text(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("x")
    two.write_text("x")
    digests = {cache.digest([one]), cache.digest([two]), cache.digest([one, two]), cache.digest([one], "text")}
    one.write_text("y")
    assert len(digests | {cache.digest([one])}) == 5


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go1.26.8", (1, 26, 8)),
        ("go1.27rc1", (1, 27, 0)),
        ("Client Version: v1.32.4-dispatcher\nKustomize Version: v5.5.0", (1, 32, 4)),
        ("devel", (0, 0, 0)),
    ],
)
def test_versions_are_read_from_what_tools_print(text: str, version: tuple[int, ...]) -> None:
    assert parse_version(text) == version


def test_an_image_archive_holds_a_shared_layer_once(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!")
    layer, archive = tmp_path / "layer.tar", tmp_path / "images.tar"
    oci.write_layer(layer, {"bin/program": program})
    oci.write_archive(
        archive, [oci.Image("localhost/a:dev", layer), oci.Image("localhost/b:dev", layer, {"User": "1"})]
    )
    with tarfile.open(archive) as tar:
        names = tar.getnames()
    assert len(names) == len(set(names)) == 2 + 1 + 2 * 2  # layout, index; layer; a config and a manifest each
    images = archive_images(archive)
    assert set(images) == {"localhost/a:dev", "localhost/b:dev"}
    assert {f"blobs/sha256/{digest.removeprefix('sha256:')}" for digest in images.values()} < set(names)


def test_the_same_files_make_the_same_layer(tmp_path: Path) -> None:
    program = tmp_path / "program"
    layers = []
    for name in ("one.tar", "two.tar"):
        program.unlink(missing_ok=True)
        program.write_text("#!")
        oci.write_layer(tmp_path / name, {"bin/program": program})
        layers.append((tmp_path / name).read_bytes())
    assert layers[0] == layers[1]


def test_pip_settings_come_from_its_variables() -> None:
    environment = {"PIP_INDEX_URL": "https://pip.example/simple", "PIP_CERT": "/ca.crt", "HOME": "/root"}
    assert product.pip_settings(environment) == "[global]\ncert = /ca.crt\nindex-url = https://pip.example/simple\n"
