"""Packages of any Debian suite and architecture, by the system's apt, which learns nothing of it."""

import subprocess
import tempfile
from pathlib import Path

from tests.cluster.node.errors import NodeError
from tests.cluster.node.run import run

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class Suite:
    """A suite of Debian for one architecture.

    Args:
        name: As `bookworm`.
        architecture: Debian's name of it, as `arm64`.
        folder: For apt's lists and downloads.

    """

    def __init__(self, name: str, architecture: str, folder: Path) -> None:
        self._folder = folder
        for each in ("etc/apt/apt.conf.d", "etc/apt/preferences.d", "var/lib/apt/lists/partial"):
            (folder / each).mkdir(parents=True)
        self._archives.joinpath("partial").mkdir(parents=True)
        self._empty.touch()
        source = f"deb [signed-by={KEYRING}] {_mirror()} {name} main\n"
        (folder / "etc/apt/sources.list").write_text(source)
        self._options = [
            f"--option=Dir={folder}",
            f"--option=Dir::State::status={self._empty}",
            f"--option=APT::Architecture={architecture}",
            f"--option=APT::Architectures={architecture}",
            "--option=APT::Sandbox::User=",  # it could not write into our folder
            "--option=Acquire::Languages=none",
        ]
        run("apt-get", *self._options, "--quiet", "update")

    def with_dependencies(self, *packages: str) -> list[Path]:
        """Download packages and all that they depend on."""
        flags = ("--quiet", "--yes", "--no-install-recommends", "--download-only")
        run("apt-get", *self._options, *flags, "install", *packages)
        return sorted(self._archives.glob("*.deb"))

    def alone(self, package: str) -> Path:
        """Download one package."""
        run("apt-get", *self._options, "--quiet", "download", package, cwd=self._archives)
        (found,) = self._archives.glob(f"{package}_*.deb")
        return found

    def depends_on(self, package: str, prefix: str) -> str:
        """The dependency of a package whose name begins so: of a kernel's metapackage, the kernel."""
        lines = run("apt-cache", *self._options, "depends", "--important", package).splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.strip().startswith("Depends:")]
        return next(name for name in names if name.startswith(prefix))

    @property
    def _archives(self) -> Path:
        return self._folder / "var/cache/apt/archives"

    @property
    def _empty(self) -> Path:
        return self._folder / "status"


def unpack(package: Path, root: Path, *names: str) -> None:
    """Unpack all files of a package, or those whose names match, without running any of its scripts."""
    with tempfile.TemporaryFile() as archive:
        subprocess.run(["dpkg-deb", "--fsys-tarfile", package], stdout=archive, check=True)
        archive.seek(0)
        # A folder where the root has a link, as /bin, is the link's.
        flags = ("--keep-directory-symlink", "--wildcards", "--extract")
        subprocess.run(["tar", "-C", root, *flags, *names], stdin=archive, check=True)


def _mirror() -> str:
    """Where apt gets its packages from: a company's mirror is often all that can be reached."""
    lines = run("apt-get", "indextargets", "--format", "$(LABEL) $(COMPONENT) $(REPO_URI)", "Identifier: Packages")
    for source in lines.splitlines():
        label, component, uri = source.split()
        if (label, component) == ("Debian", "main"):
            return uri
    raise NodeError("the virtual machines are made of Debian's packages, and apt has no source of them here")
