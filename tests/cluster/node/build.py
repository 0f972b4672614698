"""Building the Go programs; Go's own build cache resumes what was interrupted."""

import os
import re
import shutil
from pathlib import Path

from .cache import cached, digest
from .components import KUBECTL_BUILD, OLDEST_KUBECTL, GoBuild
from .errors import NodeError
from .paths import BIN
from .run import run, step


def go_build(build: GoBuild) -> Path:
    """The folder with the programs of `build`. Raises NodeError if Go is missing, too old or fails."""
    inputs = digest(build.module.iterdir(), repr(build.programs), repr(build.links), repr(build.stamps))

    def make(folder: Path) -> None:
        require_go(build.module)
        with step(f"build {build.name} {build.version}", takes=build.takes):
            for program, package in build.programs.items():
                _compile(build, package, folder / program)
        for link in build.links:
            (folder / link).symlink_to(next(iter(build.programs)))

    return cached(build.name, f"{build.version}-{inputs}", make)


def kubectl() -> Path:
    """The system's kubectl when it is new enough, else one of the cluster's version."""
    # Not the link in BIN, which is made from the answer.
    folders = (folder for folder in os.environ["PATH"].split(os.pathsep) if Path(folder) != BIN)
    found = shutil.which("kubectl", path=os.pathsep.join(folders))
    if found and parse_version(run(found, "version", "--client")) >= OLDEST_KUBECTL:
        return Path(found)
    return go_build(KUBECTL_BUILD) / "kubectl"


def require_go(module: Path) -> None:
    """Raises NodeError unless Go is there and new enough for `module`, whose go.mod says what it needs."""
    wanted = parse_version((module / "go.mod").read_text().partition("\ngo ")[2])
    remedy = f"install Go {wanted[0]}.{wanted[1]} or newer (https://go.dev/doc/install) and put it first on PATH"
    if not shutil.which("go"):
        raise NodeError(f"no `go` on PATH, which builds the {module.name} programs: {remedy}")
    # Asked in the module's folder: there, GOTOOLCHAIN=auto may choose (and fetch) a newer one than is installed.
    found = run("go", "env", "GOVERSION", cwd=module).strip()
    if parse_version(found) < wanted:
        raise NodeError(f"{shutil.which('go')} is {found}, too old for the {module.name} programs: {remedy}")


def parse_version(text: str) -> tuple[int, int]:
    """Major and minor of the first version number in `text`; (0, 0) if there is none."""
    found = re.search(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _compile(build: GoBuild, package: str, output: Path) -> None:
    stamps = " ".join(f"-X {name}={value}" for name, value in build.stamps.items())
    # Nobody debugs these: without DWARF a fifth less to compile (measured: 168 s of CPU against 211 for client-go).
    no_dwarf = "-gcflags=all=-dwarf=false"
    flags = ("-trimpath", "-mod=readonly", "-buildvcs=false", no_dwarf, "-ldflags", f"-s -w {stamps}")
    # Without cgo the programs are static: images hold the program and nothing else.
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
    # The lowest priority: a build of minutes shares the machine with whoever works on it.
    run("nice", "go", "build", *flags, "-o", output, package, cwd=build.module, env=env)
