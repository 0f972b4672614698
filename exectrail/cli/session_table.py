"""Sessions as a table: one line each."""

from rich.table import Table
from rich.text import Text

from exectrail.cli import terminal, text
from exectrail.reading.shell import join, visible
from exectrail.reading.summary import Summary

_HEADERS = ("TIME (UTC)", "USER", "VERB", "TARGET", "COMMAND", "RESULT", "DURATION", "UID")
_WIDE = 160
"""Columns from which on a terminal has room for whole UIDs."""


def show(summaries: list[Summary]) -> None:
    """Print the table to standard output."""
    uids = [summary.request_uid for summary in summaries]
    terminal.show(_table(summaries, uids if terminal.width() >= _WIDE else shortest(uids)))


def shortest(uids: list[str]) -> list[str]:
    """The UIDs cut to what still distinguishes them, as `show` takes it: 8 characters, or all of them."""
    return [uid[:8] for uid in uids] if len({uid[:8] for uid in uids}) == len(uids) else uids


def _table(summaries: list[Summary], uids: list[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in _HEADERS:
        # On a narrow terminal it is the command that gives way: all of it is in `exectrail show`.
        command = header == "COMMAND"
        table.add_column(header, no_wrap=not command, overflow="ellipsis" if command else "fold")
    for summary, uid in zip(summaries, uids, strict=True):
        table.add_row(*_row(summary, uid))
    return table


def _row(summary: Summary, uid: str) -> list[Text]:
    return [
        Text(text.when(summary.start_time)),
        Text(visible(summary.user or "")),
        Text(visible(summary.verb or "")),
        Text(text.target(summary)),
        Text(join(summary.command or []), no_wrap=True),
        Text(text.outcome(summary), text.result_style(summary.exit)),
        Text(text.span(summary.duration_ms)),
        Text(visible(uid)),
    ]
