"""`exectrail report`: sessions as one file of HTML, for those who do not have the command."""

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from exectrail.cli import files, new_file, outcome, progress, sources, text
from exectrail.cli.arguments import (
    Misused,
    add_loki,
    add_request,
    add_source,
    add_target,
    add_time,
    add_user,
    choice,
    number,
    uid,
)
from exectrail.cli.exit_codes import CANNOT_LOOK, NOT_FOUND
from exectrail.reading import session_list, words
from exectrail.reading.choice import Choice
from exectrail.reading.cluster import audit_sessions, trails
from exectrail.reading.finding import Found, UnknownSession, doubts
from exectrail.reading.kubectl import KubectlError
from exectrail.reading.report import Report
from exectrail.reading.several import NoRoom, Several, copied, temporary
from exectrail.reading.shell import visible
from exectrail.reading.summary import Summary, in_time
from exectrail.reading.trail import SELECTIONS, SESSION, Source, Unreadable
from exectrail.report.page import Page, render
from exectrail.report.rows import Section, entry, section, utc

MOST = 1000
"""So many sessions are in a page unless the user asks for more: a browser shows them at once."""
_LARGE = 64 << 20
"""Bytes: 25,000 processes or so, for which Chromium takes some seconds."""
_CHOOSES = ("user", "namespace", "pod", "container", "node", "verb", "outcome", "since", "until", "limit")
"""Options that ask for several sessions."""

_Read = Callable[[Several], set[str]]
"""Reads the records of sessions; the nodes whose trails could not be read."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add which sessions to report, and to which file."""
    parser.description = (
        "Write sessions to one HTML file that opens in any browser, without network: one by its UID, or all that"
        " options choose, oldest first."
    )
    parser.add_argument(
        "uid",
        metavar="UID",
        nargs="?",
        type=uid,
        help="UID of the request, or its first 6 characters or more; none where options choose sessions",
    )
    add_source(parser)
    add_loki(parser)
    parser.add_argument("--html", metavar="FILE", required=True, help="file to write; - for standard output")
    parser.add_argument("--force", action="store_true", help="replace the file if it is there already")
    add_user(parser)
    add_target(parser)
    add_request(parser)
    add_time(parser)
    parser.add_argument("--limit", metavar="N", type=number, help="only the latest N, the last one first")


def run(arguments: Namespace) -> int:
    """Write the report of these sessions."""
    report = Report()
    try:
        if arguments.html != "-":
            new_file.check(Path(arguments.html), replace=arguments.force)
        if any(getattr(arguments, name) is not None for name in _CHOOSES):
            return _several(arguments, report)
        if arguments.uid is None:
            text.complain("which session? Give its UID, or choose sessions by --since, --user, --limit and the like")
            return CANNOT_LOOK
        return _one(arguments, report)
    except UnknownSession as error:
        return outcome.unknown(error, report)
    except sources.FAILURES as error:
        return outcome.cannot_look(error, report)
    except (new_file.NotWritten, NoRoom) as error:
        text.complain(visible(str(error)))
        return CANNOT_LOOK


def _one(arguments: Namespace, report: Report) -> int:
    with progress.shown(report):
        found = sources.session(arguments, report, ", or options that choose sessions, such as --user or --since")
    why = doubts(found, report)
    page = Page(words.heading(found.summary), [section(found, why)], problems=list(report.sentences()))
    _write(page, arguments)
    return outcome.code(report, why)


def _several(arguments: Namespace, report: Report) -> int:
    if arguments.uid is not None:  # where options choose, the first word is a file, too
        arguments.files = [arguments.uid, *arguments.files]
    _refuse_uids(arguments)
    chosen = choice(arguments, datetime.now(UTC))
    with ExitStack() as copies:
        if arguments.loki:
            return _report(arguments, chosen, report, *_in_loki(arguments, chosen, report))
        if arguments.files:
            return _report(arguments, chosen, report, *_in_files(arguments, chosen, report, copies))
        return _report(arguments, chosen, report, *_in_cluster(arguments, chosen, report))


def _refuse_uids(arguments: Namespace) -> None:
    """A user who gives a UID does not mean a report of all that the options choose.

    Raises:
        Misused: One of the files is a UID, or the beginning of one.

    """
    given = " and ".join(f"--{name}" for name in _CHOOSES if getattr(arguments, name) is not None)
    for name in arguments.files:
        if sources.is_uid(name) and not os.path.lexists(name):
            raise Misused(f"{name}: no such file. With {given} each word is a FILE; leave out {given} to choose by UID")


def _report(arguments: Namespace, chosen: Choice, report: Report, summaries: list[Summary], read: _Read) -> int:
    if len(summaries) > (arguments.limit or MOST):
        text.complain(f"more than {MOST} sessions are chosen: choose by more options, or only the latest by --limit")
        return CANNOT_LOOK
    summaries = _once(summaries)
    with closing(Several([each.request_uid for each in summaries], report)) as several:
        with progress.shown(report):
            unread = read(several)
        if not summaries:
            code = outcome.code(report, report.gaps(), NOT_FOUND)
            if code != CANNOT_LOOK:
                text.complain("no sessions: no report is written")
            return code
        unsure: list[str] = []
        count = words.counted(len(summaries), "session")
        page = Page(
            count,
            _sections(map(several.found, summaries), report, unread, unsure),
            contents=list(map(entry, summaries)),
            chosen=_words(arguments, chosen),
            problems=[*report.sentences(), *report.gaps()],
        )
        _write(page, arguments)
    said = [f"{len(unsure)} of {count} may not be whole: the report says why"] if unsure else []
    return outcome.code(report, [*report.gaps(), *said])


def _once(summaries: list[Summary]) -> list[Summary]:
    """Each UID once: what forged it is shown in the section of its session."""
    known = {each.request_uid for each in summaries if each.state != "forged"}
    once = []
    for each in summaries:
        if each.state != "forged" or each.request_uid not in known:
            known.add(each.request_uid)
            once.append(each)
    return once


def _in_files(arguments: Namespace, chosen: Choice, report: Report, copies: ExitStack) -> tuple[list[Summary], _Read]:
    given: list[Source] = []
    for source in files.sources(arguments.files, chosen.since):
        try:
            if not source.again:
                source = copied(source, copies.enter_context(temporary()))  # noqa: PLW2901
            given.append(source)
        except Unreadable as error:
            report.problems.append(str(error))

    def read(several: Several) -> set[str]:
        several.read(given)
        if several.late:
            several.read_earlier(given)
        return set()

    return _listed(arguments, chosen, given), read


def _in_loki(arguments: Namespace, chosen: Choice, report: Report) -> tuple[list[Summary], _Read]:
    trail = sources.loki(arguments, chosen, report)

    def read(several: Several) -> set[str]:
        several.read([trail.source(SELECTIONS["sessions"])])
        if several.late:
            several.read_earlier([trail.of_entries(key for _, key in several.late)])
        return set()

    listed = sources.loki(arguments, chosen, Report())
    return _listed(arguments, chosen, [listed.source((SESSION,))]), read


def _listed(arguments: Namespace, chosen: Choice, given: list[Source]) -> list[Summary]:
    report = Report()  # all that is to be said of the sources is said when their records are read
    with progress.shown(report):
        if arguments.limit:
            return list(session_list.newest_first(given, arguments.limit, chosen.keeps, report))
        return list(islice(session_list.oldest_first(given, chosen.keeps, report), MOST + 1))


def _in_cluster(arguments: Namespace, chosen: Choice, report: Report) -> tuple[list[Summary], _Read]:
    cluster = sources.cluster(arguments)
    summaries = in_time(filter(chosen.keeps, audit_sessions(cluster, report, readings=False)))
    if arguments.limit:
        summaries = summaries[: -arguments.limit - 1 : -1]

    def read(several: Several) -> set[str]:
        unread = set()
        for node in sorted({each.node for each in summaries if each.node}):
            try:
                whole = several.read(trails(cluster, node, "--only=sessions", chosen.since))
                late = [key for name, key in several.late if name == node]
                earlier = [each for key in late for each in trails(cluster, node, f"--about={key}")]
                whole = several.read_earlier(earlier) and whole
            except KubectlError as error:
                report.problems.append(str(error))
                whole = False
            if not whole:
                unread.add(node)
        return unread

    return summaries, read


def _sections(every: Iterable[Found], report: Report, unread: set[str], unsure: list[str]) -> Iterator[Section]:
    """Each session's part of the page; adds to `unsure` those of which something may be missing."""
    for found in every:
        found.unread = found.summary.node in unread
        why = doubts(found, report)
        unsure += [found.summary.request_uid] if why else []
        yield section(found, why)


def _words(arguments: Namespace, chosen: Choice) -> str:
    """By what sessions are chosen."""
    said = [
        f"{name} {' or '.join(map(visible, values))}"
        for name in ("user", "namespace", "pod", "container", "node", "verb", "outcome")
        if (values := getattr(arguments, name))
    ]
    said += [
        f"{name} {utc(time.isoformat())}" for name, time in (("since", chosen.since), ("until", chosen.until)) if time
    ]
    return ", ".join(said + ([f"the latest {arguments.limit}"] if arguments.limit else []))


def _write(page: Page, arguments: Namespace) -> None:
    pieces = render(page, datetime.now(UTC))
    if arguments.html == "-":
        for piece in pieces:
            sys.stdout.buffer.write(piece.encode())
        sys.stdout.buffer.flush()
        return
    path = Path(arguments.html)
    new_file.write(path, pieces, replace=arguments.force)
    if (size := path.stat().st_size) > _LARGE:
        text.complain(f"the report has {size >> 20} MiB: browsers take long to open it")
