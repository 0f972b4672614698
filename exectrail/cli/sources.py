"""What a command reads: the files it was given, Loki, or the trails of a cluster."""

import os
import re
from argparse import Namespace
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from exectrail.cli import files
from exectrail.cli.arguments import Misused
from exectrail.reading.choice import Choice
from exectrail.reading.cluster import Cluster, trails
from exectrail.reading.finding import Found, Search, UnknownSession, add_earlier, find_in_cluster, resolve
from exectrail.reading.kubectl import Kubectl, KubectlError
from exectrail.reading.late import unseen
from exectrail.reading.loki import Loki, LokiError
from exectrail.reading.loki_trail import SELECTOR, LokiTrail
from exectrail.reading.report import Report
from exectrail.reading.shell import visible
from exectrail.reading.trail import SELECTIONS, SESSION, Source, read_all
from exectrail.reading.words import counted

is_uid = re.compile("[0-9a-f][0-9a-f-]*").fullmatch
"""Whether a word can be a session's UID, or the beginning of one."""

FAILURES = (KubectlError, LokiError)
"""There is nothing to read from."""


def kubectl(arguments: Namespace) -> Kubectl:
    """The kubectl that reads the cluster."""
    return Kubectl(arguments.context, arguments.kubeconfig)


def cluster(arguments: Namespace) -> Cluster:
    """The release that is read."""
    return Cluster(kubectl(arguments), arguments.release_namespace)


def of(arguments: Namespace, only: str, chosen: Choice, report: Report) -> list[Source]:
    """The files, or the trails of all nodes with what a selection (`trail.SELECTIONS`) has, from the chosen time on.

    What was written before that may be left out: a record is never written before what it is about.

    Raises:
        KubectlError: The trails cannot be listed.
        LokiError: Loki cannot be asked.

    """
    if arguments.loki:
        return [loki(arguments, chosen, report).source(SELECTIONS[only])]
    if arguments.files:
        return files.sources(arguments.files, chosen.since)
    return trails(cluster(arguments), None, f"--only={only}", chosen.since)


def left_out(
    arguments: Namespace, only: str, chosen: Choice, entries: Collection[tuple[str, str]], report: Report
) -> list[Source]:
    """What `of` leaves out because it was written before the chosen time, as far as it may be of these entries.

    Args:
        arguments: The command's.
        only: The selection (`trail.SELECTIONS`).
        chosen: Has the time.
        entries: The node and the key of each.
        report: Where it is said what could not be read.

    Raises:
        KubectlError: The trails cannot be listed.
        LokiError: Loki cannot be asked.

    """
    if chosen.since is None or not entries:
        return []
    if arguments.loki:
        earlier = replace(loki(arguments, Choice(), Report()), end=int(chosen.since.timestamp()), report=report)
        return [earlier.of_entries(key for _, key in entries)]
    if not arguments.files:
        asked = cluster(arguments)
        nodes = sorted({node for node, _ in entries})
        return [source for node in nodes for source in trails(asked, node, f"--only={only}")]
    read = {source.name for source in files.sources(arguments.files, chosen.since)}
    return [source for source in files.sources(arguments.files) if source.name not in read]


def loki(arguments: Namespace, chosen: Choice, report: Report) -> LokiTrail:
    """The trail in Loki, from the chosen time on.

    It is read up to now, whatever `--until` says: what began before may have its end later.

    Raises:
        LokiError: It cannot be asked.

    """
    if arguments.files:
        raise LokiError("give FILE or --loki, not both")
    now = datetime.now(UTC)
    since = chosen.since
    if since is None:
        since = now - timedelta(days=arguments.loki_days)
        report.notes.append(f"looked back {counted(arguments.loki_days, 'day')} in Loki; --loki-days N looks further")
    asked = Loki(arguments.loki, arguments.loki_org_id, arguments.loki_ca)
    selector = arguments.loki_selector or SELECTOR
    return LokiTrail(asked, selector, int(since.timestamp()), int(now.timestamp()) + 1, report)


def session(arguments: Namespace, report: Report, otherwise: str = "") -> Found:
    """The one session whose UID is given, from the files, from Loki or from the cluster.

    Args:
        arguments: The command's.
        report: Where it is said what could not be read.
        otherwise: What else can be given, where the UID is missing.

    Raises:
        Misused: It is the name of a file.
        UnknownSession: None or several go by it.
        KubectlError: The API could not be asked.
        LokiError: Loki cannot be asked.

    """
    if not arguments.files and not is_uid(arguments.uid) and os.path.lexists(arguments.uid):
        raise Misused(f"{visible(arguments.uid)} is a file or folder: give a UID before it{otherwise}")
    asked = cluster(arguments)
    if arguments.loki:
        found = _in_loki(arguments.uid, loki(arguments, Choice(), report), report)
    elif not arguments.files:
        found = find_in_cluster(arguments.uid, asked, report)
    else:
        search = Search(arguments.uid, report)
        for source in files.sources(arguments.files):
            search.read(source)
        found = search.found()
    if entries := unseen(found.records):
        try:
            said = add_earlier(found, entries, _again(arguments, asked, entries, report))
        except FAILURES as error:  # what was found is shown all the same
            said = [str(error)]
        report.problems += [each for each in said if each not in report.problems]
    return found


def _again(arguments: Namespace, asked: Cluster, entries: Collection[tuple[str, str]], report: Report) -> list[Source]:
    """What to read once more for what these entries did before their request showed."""
    if arguments.loki:
        return [loki(arguments, Choice(), Report()).of_entries(key for _, key in entries)]
    if not arguments.files:
        return [each for node, key in sorted(entries) for each in trails(asked, node, f"--about={key}")]
    given = files.sources(arguments.files)
    report.problems += [
        f"{each.name}: cannot be read twice, so what ran before the request showed is missing; give a file"
        for each in given
        if not each.again and not any(said.startswith(each.name) for said in report.problems)
    ]
    return [each for each in given if each.again]


def _in_loki(uid: str, trail: LokiTrail, report: Report) -> Found:
    search = Search(uid, report)
    failed = search.read(trail.about(uid))
    try:
        return search.found()
    except UnknownSession:
        if not failed:
            resolve(uid, [record.request_uid or "" for record in read_all([trail.source((SESSION,))], None, report)])
        raise
