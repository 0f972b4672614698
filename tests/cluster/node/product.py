"""The product's image, built from the repository's Containerfile and brought into the node."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from . import images, imports
from .cache import cached, digest
from .components import BASE_IMAGE, PRODUCT_IMAGE
from .errors import NodeError
from .paths import CONTAINERD_SOCKET, REPOSITORY
from .run import run, say, step

_CONTAINERFILE = REPOSITORY / "Containerfile"
# What the Containerfile copies; a change of anything else needs no new image.
_SOURCES = (
    "Containerfile",
    ".containerignore",
    "LICENSE",
    "README.md",
    "pyproject.toml",
    "requirements",
    "exectrail",
    "webhook",
    "enricher",
    "profiles",
)


def archive() -> Path:
    """The image in the cache, built if its sources changed."""
    if not _CONTAINERFILE.exists():
        raise NodeError(f"{_CONTAINERFILE} is missing: run this in the repository")
    base = images.base_images()
    return cached("product-image", _inputs(base), lambda folder: _build(folder, base)) / "image.tar"


def build_product() -> None:
    """Build the image if its sources changed, and import it if the node is up."""
    built = archive()
    if CONTAINERD_SOCKET.exists():
        imports.into_containerd(built, PRODUCT_IMAGE)
    else:
        say(f"the node is down: {PRODUCT_IMAGE} is built, but not imported; run `up`, then `image` again")


def pip_settings(environment: Mapping[str, str]) -> str:
    """pip's settings from its variables (PIP_INDEX_URL=...), as a pip.conf.

    https://pip.pypa.io/en/stable/topics/configuration/
    """
    variables = sorted(name for name in environment if name.startswith("PIP_") and name != "PIP_CONFIG_FILE")
    settings = (f"{name[4:].lower().replace('_', '-')} = {environment[name]}\n" for name in variables)
    return "[global]\n" + "".join(settings)


def _inputs(base: Path) -> str:
    return digest(_source_files(), base.parent.name, root=REPOSITORY)


def _source_files() -> Iterator[Path]:
    for name in _SOURCES:
        path = REPOSITORY / name
        found = path.rglob("*") if path.is_dir() else [path]
        yield from (file for file in found if file.is_file() and _is_source(file))


def _build(folder: Path, base: Path) -> None:
    imports.into_buildah(base)
    with step(f"{PRODUCT_IMAGE} built"), tempfile.TemporaryDirectory() as settings:
        run(
            "buildah",
            "build",
            # chroot: needs no runc and no cgroup, so it works in a container, too. host: pip reaches its index.
            *("--isolation", "chroot", "--network", "host"),
            *("--layers", "--force-rm", "--pull-never", "--build-arg", f"BASE={BASE_IMAGE}"),
            *(argument for volume in _volumes(Path(settings)) for argument in ("--volume", volume)),
            *("--tag", PRODUCT_IMAGE, "--file", _CONTAINERFILE, REPOSITORY),
        )
        target = f"oci-archive:{folder / 'image.tar'}:{PRODUCT_IMAGE}"
        run("buildah", "push", "--quiet", "--disable-compression", PRODUCT_IMAGE, target)


def _volumes(settings: Path) -> Iterator[str]:
    """How this machine's pip reaches its index, for the length of the build only.

    Mounts, not build arguments: those are kept in the image's history, with any password in a URL.
    """
    system = Path("/etc/pip.conf")
    if system.exists():
        yield f"{system}:{system}:ro"
    user = settings / "pip.conf"
    user.write_text(pip_settings(os.environ))
    yield f"{user}:/root/.config/pip/pip.conf:ro"
    variables = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_FIND_LINKS")
    for path in sorted({os.environ.get(name, "") for name in variables}):
        if path.startswith("/") and Path(path).exists():
            yield f"{path}:{path}:ro"


def _is_source(file: Path) -> bool:
    return "__pycache__" not in file.parts and file.suffix != ".o"
