"""What a command reads: the files it was given, or the trails of a cluster."""

from argparse import Namespace

from exectrail.cli import files
from exectrail.reading.cluster import trails
from exectrail.reading.kubectl import Kubectl
from exectrail.reading.trail import Source


def kubectl(arguments: Namespace) -> Kubectl:
    """The kubectl that reads the cluster."""
    return Kubectl(arguments.context, arguments.kubeconfig)


def of(arguments: Namespace, only: str) -> list[Source]:
    """The files, or the trails of all nodes with what a selection (`trail.SELECTIONS`) has.

    Raises:
        KubectlError: The trails cannot be listed.

    """
    if arguments.files:
        return files.sources(arguments.files)
    return trails(kubectl(arguments), None, f"--only={only}")
