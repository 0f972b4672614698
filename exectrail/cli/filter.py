"""`exectrail filter --try FILTERS`: what a filter set would keep and drop of a trail."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path

from exectrail.cli import files, outcome, text
from exectrail.cli.arguments import add_output, not_empty
from exectrail.cli.exit_codes import CANNOT_LOOK
from exectrail.cli.filter_report import FilterReport, RuleReport
from exectrail.contracts.record import Record
from exectrail.filter.filters import FilterError, Filters, load
from exectrail.reading import trail
from exectrail.reading.report import Report
from exectrail.reading.shell import visible

_SAMPLES = 3
"""How many records to show of those that a rule dropped."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add which filters to try, and on which trail."""
    parser.description = "Check a filter set, and show for each rule which records of a trail it keeps or drops."
    parser.add_argument("--try", metavar="FILTERS", dest="filters", required=True, help="filter set, a JSON file")
    where = "trail or folder of trails to read (default: standard input)"
    parser.add_argument("file", metavar="FILE", nargs="?", type=not_empty, default="-", help=where)
    add_output(parser, "table", "json")


def run(arguments: Namespace) -> int:
    """Try the filters on the records of a file or of standard input."""
    report = Report()
    try:
        filters = _filters(arguments.filters)
    except trail.Unreadable as error:
        text.complain(error)
        return CANNOT_LOOK
    result = tried(filters, trail.read_all(files.sources([arguments.file]), None, report))
    if report.failed and not result.kept + result.dropped:
        return outcome.code(report, ())
    if arguments.output == "json":
        text.print_json(result)
    else:
        from exectrail.cli import filter_table  # noqa: PLC0415 - brings Rich

        filter_table.show(result)
    return outcome.code(report, ())


def tried(filters: Filters, records: Iterator[Record]) -> FilterReport:
    """Have the filters decide on each record."""
    rules = {rule.number: RuleReport(rule.number, rule.priority, rule.level) for rule in filters.rules}
    report = FilterReport(rules=list(rules.values()))
    for record in records:
        decision = filters.decide(record)
        report.kept += decision.keep
        report.dropped += not decision.keep
        if decision.rule and not decision.keep and len(rules[decision.rule].sample) < _SAMPLES:
            rules[decision.rule].sample.append(record)
    for number, rule in rules.items():
        rule.hits = filters.hits[number]
    report.unmatched = filters.hits[None]
    report.unfiltered = report.kept + report.dropped - sum(filters.hits.values())
    return report


def _filters(name: str) -> Filters:
    try:
        return load(Path(name).read_bytes())
    except OSError as error:
        raise trail.Unreadable(f"{visible(name)}: {error.strerror or error}") from error
    except FilterError as error:
        raise trail.Unreadable(f"{visible(name)}: {visible(str(error))}") from error
