"""The page: one file of HTML, with its style and its script in it, that asks no network for anything.

A Content-Security-Policy in the file allows just that style and that script, by their hashes, and nothing else: even
markup that got past the escaping could neither run nor load anything (https://www.w3.org/TR/CSP3/).
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from html import escape
from importlib.resources import files

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from msgspec import Struct

import exectrail
from exectrail.reading import words
from exectrail.report.rows import Entry, Section

_TEMPLATE, _STYLE, _SCRIPT = "page.html", "page.css", "page.js"


class Page(Struct, frozen=True):
    """What is on it."""

    title: str
    sections: Iterable[Section]
    """In the order in which they are to stand; each is made when its turn comes."""
    contents: list[Entry] = []
    """The same where there are several: a line for each."""
    chosen: str = ""
    """By what they were chosen."""
    problems: list[str] = []
    """What kept the reading as a whole from being complete."""


def render(page: Page, made: datetime) -> Iterator[str]:
    """The page, piece by piece: it may be larger than memory.

    Args:
        page: What is on it.
        made: When this is, with a time zone.

    """
    style, script = _file(_STYLE), _file(_SCRIPT)
    environment = Environment(
        loader=DictLoader({_TEMPLATE: _file(_TEMPLATE)}),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    yield from environment.get_template(_TEMPLATE).generate(
        page=page,
        policy=policy(style, script),
        style=Markup(style),  # noqa: S704 - our own files
        script=Markup(script),  # noqa: S704
        text=_text,
        by_two=words.BY_TWO,
        made=made.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        version=exectrail.__version__,
    )


def policy(style: str, script: str) -> str:
    """The page's Content-Security-Policy."""
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)};"
        " base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
    )


def _file(name: str) -> str:
    return (files("exectrail.report") / name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _text(raw: str) -> Markup:
    """Text that stands between tags, where quotes need no escape: records have many."""
    return Markup(escape(raw, quote=False))  # noqa: S704 - it is escaped
