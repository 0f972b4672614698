"""`exectrail doctor`: whether a cluster is covered, and what to do where it is not."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator
from pathlib import Path

import msgspec

from exectrail.cli import sources, terminal, text
from exectrail.cli.arguments import add_cluster, add_output, add_release
from exectrail.cli.exit_codes import CANNOT_LOOK, FOUND, INCOMPLETE, OK
from exectrail.cli.wrapping import Part, painted, wrapped
from exectrail.doctor import bundle
from exectrail.doctor.cluster import NoRelease, look
from exectrail.doctor.diagnosis import Diagnosis, diagnosis
from exectrail.doctor.finding import NAMES, Finding
from exectrail.doctor.seen import Seen
from exectrail.doctor.words import stamp
from exectrail.reading.kubectl import KubectlError
from exectrail.reading.shell import visible
from exectrail.reading.words import counted

_SHOWN = 20
"""So many places of a finding are shown; the others are counted, and in JSON."""
_STYLES = {"error": "bold red", "warning": "yellow", "notice": "bold"}


def add_arguments(parser: ArgumentParser) -> None:
    """Add where to look."""
    parser.description = (
        "Say whether a cluster is covered: what is not recorded or may not be, with what it means and what to do."
        " Exits with 1 when there is an error or a warning, and with 3 when something could not be looked at."
    )
    add_cluster(parser)
    add_release(parser, "-n", "--namespace")
    parser.add_argument(
        "--ignore",
        metavar="FINDING",
        action="append",
        type=_name,
        help="leave out a finding that is known, by its name",
    )
    parser.add_argument(
        "--bundle",
        metavar="FILE",
        type=Path,
        help="also write logs and statuses into this file (tar.gz) for a support case, without trail and Secrets",
    )
    add_output(parser, "text", "json")


def _name(given: str) -> str:
    if given not in NAMES:
        raise ArgumentTypeError(f"no finding is named {given!r}; their names are {', '.join(sorted(NAMES))}")
    return given


def run(arguments: Namespace) -> int:
    """Look at the cluster, say what was found, and write the bundle if it is wanted."""
    kubectl = sources.kubectl(arguments)
    try:
        seen = look(kubectl, arguments.namespace)
    except (KubectlError, NoRelease) as error:
        text.complain(error)
        return CANNOT_LOOK
    found = diagnosis(seen, arguments.ignore or ())
    if arguments.output == "json":
        text.print_json(document(seen, found))
    else:
        _print(found)
    if arguments.bundle:
        try:
            problems = bundle.write(arguments.bundle, kubectl, seen, document(seen, found))
        except OSError as error:
            text.complain(f"cannot write {visible(str(arguments.bundle))}: {error.strerror}")
            return CANNOT_LOOK
        for problem in problems:
            text.complain(problem)
        text.complain(f"bundle written to {visible(str(arguments.bundle))}")
    if not found.covered:
        return FOUND
    return INCOMPLETE if found.not_checked else OK


def document(seen: Seen, found: Diagnosis) -> dict[str, object]:
    """The whole as JSON."""
    return {
        "release": msgspec.to_builtins(seen.release),
        "time": stamp(seen.now),
        "covered": found.covered,
        "findings": [msgspec.to_builtins(each) for area in found.areas for each in area.findings],
        "ignored": found.ignored,
        "checked": {area.area: area.summary for area in found.areas},
        "notChecked": msgspec.to_builtins(found.not_checked),
    }


def _print(found: Diagnosis) -> None:
    width, coloured = terminal.width(), terminal.coloured()
    for indent, parts in _lines(found):
        if not parts:
            print()
            continue
        for number, line in enumerate(wrapped(parts, width and max(width - len(indent), 10))):
            print(((indent if number == 0 else " " * len(indent)) + painted(line, coloured=coloured)).rstrip())


def _lines(found: Diagnosis) -> Iterator[tuple[str, list[Part]]]:
    """What to print: each with the indentation of its first line."""
    for area in found.areas:
        if area.findings:
            yield "", [(area.area, "bold")]
            for finding in area.findings:
                yield from _of(finding)
            yield "", []
    if found.not_checked:
        yield "", [("not checked", "bold")]
        for missing in found.not_checked:
            yield "  ", [(f"{missing.what}: ", "yellow"), (visible(" ".join(missing.why.split())), "")]
        yield "", []
    for area in found.areas:
        if not area.findings:
            yield "ok  ", [(visible(f"{area.area}: {area.summary}"), "")]
    yield "", [(_verdict(found), "bold")]


def _of(finding: Finding) -> Iterator[tuple[str, list[Part]]]:
    style = _STYLES[finding.severity]
    yield "  ", [(f"{finding.severity}: ", style), (visible(finding.summary), "bold"), (f"  [{finding.name}]", "dim")]
    for place in finding.found[:_SHOWN]:
        yield "    found   ", [(visible(place), "")]
    if (more := len(finding.found) - _SHOWN) > 0:
        yield "    found   ", [(f"and {more} more, which `-o json` lists", "yellow")]
    yield "    means   ", [(visible(finding.meaning), "")]
    yield "    remedy  ", [(visible(finding.remedy), "")]


def _verdict(found: Diagnosis) -> str:
    counts = {
        severity: sum(each.severity == severity for area in found.areas for each in area.findings)
        for severity in _STYLES
    }
    said = ", ".join(counted(count, severity) for severity, count in counts.items() if count)
    ignored = f", {found.ignored} ignored" if found.ignored else ""
    missing = f", {len(found.not_checked)} not checked" if found.not_checked else ""
    if not found.covered:
        head = "This cluster is not covered"
    else:
        head = "This cluster is not known to be covered" if missing else "This cluster is covered"
    return f"{head}: {said or 'no findings'}{ignored}{missing}."
