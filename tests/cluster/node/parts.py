"""Everything that the node is made of, in the cache: what a machine does once."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import images, packages, release
from .build import go_build, kubectl
from .components import HELM_BUILD, HYPERKUBE_BUILD, GoBuild


@dataclass(frozen=True)
class Parts:
    """Programs, or the folders they are in, and archives of images by what they hold."""

    programs: Path
    helm: Path
    kubectl: Path
    archives: dict[str, Path]


def make(*others: GoBuild) -> Parts:
    """Build what is missing, and `others` beside it. Raises NodeError with what is wrong and what to do."""
    release.require()
    packages.install()
    with ThreadPoolExecutor(1) as background:
        # Two at a time: what one downloads or links with one processor leaves the other to the compiler.
        base = background.submit(images.base_images)
        helm = background.submit(go_build, HELM_BUILD)
        system = background.submit(images.system_images)
        more = [background.submit(go_build, each) for each in others]
        programs = go_build(HYPERKUBE_BUILD)
        for each in more:
            each.result()
        archives = {"system images": system.result(), "base and workload image": base.result()}
    return Parts(programs, helm.result() / "helm", kubectl(), archives)
