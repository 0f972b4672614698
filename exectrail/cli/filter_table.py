"""What a filter set did, as a table of its rules."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from exectrail.cli import terminal
from exectrail.cli.filter_report import FilterReport
from exectrail.contracts.record import Record
from exectrail.reading import words
from exectrail.reading.shell import join, visible

_HEADERS = ("RULE", "PRIORITY", "LEVEL", "HITS")


def show(report: FilterReport) -> None:
    """Print the report to standard output."""
    parts: list[RenderableType] = [Text(_total(report))]
    if report.rules:
        parts += [Text(), _table(report)]
    for rule in report.rules:
        if rule.sample:
            parts += [Text(), Text(f"dropped by rule {rule.rule}, {len(rule.sample)} of {rule.hits}:", "bold")]
            parts += [Text(f"  {_line(record)}") for record in rule.sample]
    terminal.show(Group(*parts))


def _total(report: FilterReport) -> str:
    return (
        f"kept {report.kept} (no rule matched {report.unmatched}; always kept {report.unfiltered}),"
        f" dropped {report.dropped}"
    )


def _table(report: FilterReport) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in _HEADERS:
        table.add_column(header, no_wrap=True, justify="left" if header == "LEVEL" else "right")
    for rule in report.rules:
        style = "" if rule.hits else "yellow"
        table.add_row(str(rule.rule), str(rule.priority), rule.level, Text(str(rule.hits), style))
    return table


def _line(record: Record) -> str:
    place = record.resource
    parts = (
        record.timestamp,
        record.kind,
        words.names(place) if place else record.node.name,
        record.user or record.origin or "",
    )
    command = join(record.argv) if record.argv else visible(record.cmd_line or record.executable or "")
    return f"{visible(' '.join(part for part in parts if part))}  {command}".rstrip()
