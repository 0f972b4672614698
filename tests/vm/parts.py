"""What the machines are made of: kernels and userlands from Debian's packages, kept in the cache."""

import re
import shutil
import sys
import tempfile
from pathlib import Path

from tests.cluster.node.cache import cached, digest
from tests.cluster.node.paths import REPOSITORY
from tests.cluster.node.run import run, step

from .debian import Suite, unpack
from .machines import PACKAGES, PYTHON, REQUIREMENTS, USERLAND, Architecture, Machine

_HERE = Path(__file__).parent
_SOURCES = (_HERE / "parts.py", _HERE / "debian.py")
_PINNED = REPOSITORY / "requirements/dev.txt"
_MERGED = ("bin", "lib", "lib64", "sbin")  # links into /usr since bookworm, which installers of the system make
_LEFT_OUT = ("usr/share/doc", "usr/share/locale", "usr/share/man", "usr/share/perl", "usr/share/zoneinfo")
_MACHINE_NAMES: dict[Architecture, str] = {"amd64": "x86_64", "arm64": "aarch64"}
_GLIBC = range(17, 37)  # the minor versions of glibc whose wheels bookworm runs
_OF_THE_REPOSITORY = ("enricher", "exectrail", "profiles", "tests", "webhook", "pyproject.toml")


def kernel(machine: Machine) -> Path:
    """The machine's kernel."""

    def make(folder: Path) -> None:
        with step(f"download {machine.kernel} of {machine.suite}"), tempfile.TemporaryDirectory() as temporary:
            suite = Suite(machine.suite, machine.architecture, Path(temporary))
            package = suite.alone(suite.depends_on(machine.kernel, prefix="linux-image-"))
            unpack(package, folder, "./boot/vmlinuz-*")

    inputs = digest(_SOURCES, machine.kernel)
    folder = cached(f"vm-kernel-{machine.suite}-{machine.architecture}", inputs, make)
    (found,) = (folder / "boot").glob("vmlinuz-*")
    return found


def userland(architecture: Architecture) -> Path:
    """A cpio archive with a Debian system that can run the tests."""

    def make(folder: Path) -> None:
        root = folder / "root"
        for name in _MERGED:
            (root / "usr" / name).mkdir(parents=True)
            (root / name).symlink_to(f"usr/{name}")
        with step(f"download the packages of {USERLAND} for {architecture}"):
            _add_packages(root, architecture)
        with step(f"download the Python packages for {architecture}"):
            _add_requirements(root, architecture)
        for name in _LEFT_OUT:
            shutil.rmtree(root / name, ignore_errors=True)
        pack(root, folder / "userland.cpio")
        shutil.rmtree(root)

    inputs = digest([*_SOURCES, _PINNED], USERLAND, *PACKAGES, *REQUIREMENTS)
    return cached(f"vm-userland-{architecture}", inputs, make) / "userland.cpio"


def repository(archive: Path, settings: str) -> None:
    """A cpio archive with what is tested, process 1 of the machine, and its settings."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        (root / "repository").mkdir()
        for name in _OF_THE_REPOSITORY:
            run("cp", "-a", REPOSITORY / name, root / "repository")
        # The one object for all: what the image would hold, built by another machine.
        run("make", "-C", root / "repository/enricher/sensors/bpf", "clean", "all")
        shutil.copy(_HERE / "inside/init.py", root / "init")
        (root / "init").chmod(0o755)
        (root / "settings.json").write_text(settings)
        pack(root, archive)


def pack(root: Path, archive: Path) -> None:
    """As the kernel unpacks it (Documentation/driver-api/early-userspace/buffer-format.rst)."""
    names = "\n".join(str(path.relative_to(root)) for path in [root, *sorted(root.rglob("*"))])
    flags = ("--create", "--quiet", "--format=newc", "--owner=0:0")
    run("cpio", *flags, f"--file={archive}", cwd=root, stdin=names + "\n")


def _add_packages(root: Path, architecture: Architecture) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        for package in Suite(USERLAND, architecture, Path(temporary)).with_dependencies(*PACKAGES):
            unpack(package, root)
    # What scripts of the packages would have done, as far as the tests need it.
    for name in ("passwd", "group"):
        shutil.copy(root / f"usr/share/base-passwd/{name}.master", root / f"etc/{name}")
    for name in ("dev", "proc", "run", "sys", "tmp"):
        (root / name).mkdir(exist_ok=True)


def _add_requirements(root: Path, architecture: Architecture) -> None:
    blocks = re.split(r"\n(?=\S)", _PINNED.read_text())
    with tempfile.NamedTemporaryFile("w") as wanted:
        wanted.write("\n".join(block for block in blocks if block.partition("==")[0] in REQUIREMENTS))
        wanted.flush()
        machine = _MACHINE_NAMES[architecture]
        flags = ["--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--only-binary=:all:"]
        flags += [f"--platform=manylinux_2_{minor}_{machine}" for minor in _GLIBC]
        flags += [f"--platform=manylinux2014_{machine}", f"--python-version={PYTHON}"]
        target = root / f"usr/local/lib/python{PYTHON}/dist-packages"
        run(sys.executable, "-m", "pip", "install", *flags, "--target", target, "--requirement", wanted.name)
    if sys.version_info[:2] == tuple(map(int, PYTHON.split("."))):
        # Emulated, it would take a minute at each start.
        run(sys.executable, "-m", "compileall", "-q", "-s", root, root / f"usr/lib/python{PYTHON}")
