"""Everything that the node is made of, in the cache: what a machine does once."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import images, packages
from .build import go_build, kubectl
from .components import HELM_BUILD, HYPERKUBE_BUILD


@dataclass(frozen=True)
class Parts:
    """Programs, or the folders they are in, and archives of images by what they hold."""

    programs: Path
    helm: Path
    kubectl: Path
    archives: dict[str, Path]


def make() -> Parts:
    """Build what is missing. Raises NodeError with what is wrong and what to do."""
    packages.install()
    with ThreadPoolExecutor(1) as background:
        # Mostly waiting for downloads, while Go keeps the processors busy.
        base = background.submit(images.base_images)
        programs = go_build(HYPERKUBE_BUILD)
        helm = go_build(HELM_BUILD) / "helm"
        system = images.system_images()
        archives = {"system images": system, "base and workload image": base.result()}
    return Parts(programs, helm, kubectl(), archives)
