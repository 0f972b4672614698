"""The images that the node makes for itself, as OCI archives in the cache."""

import platform
import shutil
import tempfile
from pathlib import Path

from . import oci, release
from .build import go_build
from .cache import cached, digest
from .components import (
    BASE_IMAGE,
    BASE_PACKAGES,
    CERT_MANAGER_BUILD,
    HERE,
    PAUSE_IMAGE,
    WORKLOAD_IMAGE,
    cert_manager_image,
)
from .run import run, step

_ARCHIVE = "images.tar"
_BASE_LAYER = "layer.tar"
_SOURCES = (HERE / "images.py", HERE / "oci.py")
# Of a fresh Debian: the runtime makes a /dev of its own, the others are caches.
_LEFT_OUT = ("./dev/*", "./proc/*", "./sys/*", "./var/cache/apt/*", "./var/lib/apt/lists/*", "./var/log/*")


def system_images() -> Path:
    """The archive with the pause image and cert-manager's three."""
    programs = go_build(CERT_MANAGER_BUILD)
    busybox = Path(shutil.which("busybox") or "/bin/busybox")

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as layers:
            images = [_pause(Path(layers), busybox)]
            images += [_cert_manager(Path(layers), programs, part) for part in CERT_MANAGER_BUILD.programs]
            oci.write_archive(folder / _ARCHIVE, images)

    return cached("system-images", f"{programs.name}-{digest([busybox, *_SOURCES])}", make) / _ARCHIVE


def base_images() -> Path:
    """The archive with the base of the product's image, also under a second name as a workload."""
    root = _base_root()

    def make(folder: Path) -> None:
        layer = root / _BASE_LAYER
        base = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
        # sleep as process 1 ignores SIGTERM: with it, deleting a pod takes its whole grace period.
        workload = {**base, "Cmd": ["sleep", "infinity"], "StopSignal": "SIGKILL"}
        images = [oci.Image(BASE_IMAGE, layer, base), oci.Image(WORKLOAD_IMAGE, layer, workload)]
        oci.write_archive(folder / _ARCHIVE, images)

    return cached("base-images", f"{root.name}-{digest(_SOURCES)}", make) / _ARCHIVE


def _base_root() -> Path:
    codename = release.codename()

    def make(folder: Path) -> None:
        with step(f"debootstrap {codename}", takes="1 minute"):
            _debootstrap(folder / "root", codename)
            _pack(folder / "root", folder / _BASE_LAYER)
            shutil.rmtree(folder / "root")

    return cached("base", f"{codename}-{digest([], *BASE_PACKAGES, *_LEFT_OUT, platform.machine())}", make)


def _pause(folder: Path, busybox: Path) -> oci.Image:
    layer = folder / "pause.tar"
    oci.write_layer(layer, {"bin/busybox": busybox})
    return oci.Image(PAUSE_IMAGE, layer, {"Entrypoint": ["/bin/busybox", "sleep", "2147483647"]})


def _cert_manager(folder: Path, programs: Path, part: str) -> oci.Image:
    layer = folder / f"{part}.tar"
    oci.write_layer(layer, {part: programs / part})
    # The chart says runAsNonRoot, which kubelet can only verify for a numeric user.
    return oci.Image(cert_manager_image(part), layer, {"Entrypoint": [f"/{part}"], "User": "1000"})


def _mirror(wanted: str) -> list[str]:
    """Where apt gets this release from: a company's mirror is often all that can be reached.

    Empty where apt has no web address for it (`mirror+file:`): debootstrap then takes the distribution's own.
    """
    lines = run("apt-get", "indextargets", "--format", "$(RELEASE) $(CODENAME) $(REPO_URI)").splitlines()
    sources = [line.split(maxsplit=2) for line in lines]
    # Ubuntu's updates and security have the release's codename, too: the release itself first.
    sources.sort(key=lambda source: source[0] != wanted)
    web = [uri for name, codename, uri in sources if wanted in {name, codename} and uri.startswith("http")]
    return web[:1]


def _debootstrap(root: Path, codename: str) -> None:
    # On Ubuntu some of what Debian has in main is in universe.
    components = "--components=" + ("main,universe" if release.distribution() == "ubuntu" else "main")
    include = "--include=" + ",".join(BASE_PACKAGES)
    run("nice", "debootstrap", "--variant=minbase", components, include, codename, root, *_mirror(codename))


def _pack(root: Path, layer: Path) -> None:
    excludes = [f"--exclude={pattern}" for pattern in _LEFT_OUT]
    run("tar", "-C", root, "--sort=name", "--numeric-owner", "--xattrs", *excludes, "-cf", layer, ".")
