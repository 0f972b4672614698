"""Where the tests of reports have their Chromium from."""

import shutil
from pathlib import Path

import pytest

from tests.cluster.node import browser
from tests.cluster.node.components import Package
from tests.cluster.node.errors import NodeError


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The packages that are installed."""
    names: list[str] = []

    def install(packages: tuple[Package, ...]) -> None:
        if not shutil.which("apt-get"):
            raise NodeError("no such package")
        names.extend(package.name for package in packages)

    monkeypatch.setattr(browser, "install_these", install)
    return names


def program(path: Path, name: str, code: int = 0) -> Path:
    made = path / name
    made.write_text(f"#!/bin/sh\nexit {code}\n")
    made.chmod(0o755)
    return made


@pytest.mark.parametrize("name", ["chromium", "chromium-headless-shell", "google-chrome"])
def test_a_chromium_on_path_is_taken_and_nothing_installed(name: str, path: Path, installed: list[str]) -> None:
    expected = program(path, name)
    browser.install()

    assert (browser.program(), installed) == (str(expected), [])


def test_the_package_is_installed_where_the_system_has_one(path: Path, installed: list[str]) -> None:
    program(path, "apt-get")
    browser.install()

    assert installed == ["chromium"]


def test_where_there_is_none_the_remedy_is_named(
    path: Path, installed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    browser.install()

    assert installed == []
    assert "no Chromium on PATH (any of chromium, " in capsys.readouterr().err
    with pytest.raises(NodeError, match="install one"):
        browser.program()
