"""Building the Go programs; Go's own build cache resumes what was interrupted."""

import os
import shutil
from pathlib import Path

from .cache import cached, digest
from .components import KUBECTL_BUILD, OLDEST_KUBECTL, GoBuild
from .go import Go, find_go
from .paths import BIN
from .run import run, step
from .version import parse_version


def go_build(build: GoBuild) -> Path:
    """The folder with the programs of `build`. Raises NodeError if Go fails, or is missing and can't be had."""
    inputs = digest(build.module.iterdir(), repr(build.programs), repr(build.links), repr(build.stamps))

    def make(folder: Path) -> None:
        go = find_go()
        with step(f"build {build.name} {build.version}", takes=build.takes):
            for program, package in build.programs.items():
                _compile(go, build, package, folder / program)
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


def _compile(go: Go, build: GoBuild, package: str, output: Path) -> None:
    stamps = " ".join(f"-X {name}={value}" for name, value in build.stamps.items())
    # Nobody debugs these: without DWARF a fifth less to compile (measured: 168 s of CPU against 211 for client-go).
    no_dwarf = "-gcflags=all=-dwarf=false"
    flags = ("-trimpath", "-buildvcs=false", no_dwarf, "-ldflags", f"-s -w {stamps}")
    go.run("build", *flags, "-o", output, package, module=build.module)
