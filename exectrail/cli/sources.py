"""What a command reads: the files it was given, or the trails of a cluster."""

from argparse import Namespace

from exectrail.cli import files
from exectrail.reading.cluster import trails
from exectrail.reading.finding import Found, Search, find_in_cluster
from exectrail.reading.kubectl import Kubectl
from exectrail.reading.report import Report
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


def session(arguments: Namespace, report: Report) -> Found:
    """The one session whose UID is given, from the files or from the cluster.

    Raises:
        UnknownSession: None or several go by it.
        KubectlError: The API could not be asked.

    """
    if not arguments.files:
        return find_in_cluster(arguments.uid, kubectl(arguments), report)
    search = Search(arguments.uid, report)
    for source in files.sources(arguments.files):
        search.read(source)
    return search.found()
