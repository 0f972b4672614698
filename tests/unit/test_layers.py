"""The layers hold: an import against the way of the data makes `make lint` fail, and says which."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
PARTS = ("exectrail", "webhook", "enricher", "profiles")


def lint(root: Path) -> tuple[int, str]:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=root, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The repository's code, to be spoiled."""
    shutil.copy(REPO / "pyproject.toml", tmp_path)
    for part in PARTS:
        shutil.copytree(REPO / part, tmp_path / part, ignore=shutil.ignore_patterns("*.o", "__pycache__"))
    return tmp_path


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("exectrail.contracts.meta", "exectrail.k8s.client"),
        ("webhook.reviews.cut", "webhook.serving.server"),
        ("enricher.sensors.unavailable", "enricher.containers.containers"),
        ("enricher.containers.pods", "enricher.correlate.tracker"),
        ("enricher.correlate.tag", "enricher.emit.quota"),
        ("profiles.installer.install", "profiles.controller.retention"),
        ("enricher.clock", "webhook.metrics"),
    ],
)
def test_an_import_that_runs_back_is_found(copy: Path, module: str, forbidden: str) -> None:
    file = copy.joinpath(*module.split(".")).with_suffix(".py")
    file.write_text(f"{file.read_text()}\nimport {forbidden}\n")

    code, said = lint(copy)

    assert code == 1
    assert f"{module} -> {forbidden}" in said
