"""A page as a program sees it that reads HTML."""

import re
from html.parser import HTMLParser


class ParsedPage(HTMLParser):
    """Tags, attributes, and the text in them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        """Of each its tag, its name and its value."""
        self.texts: list[tuple[tuple[str, ...], str]] = []
        """Of each the tags around it, with their classes (`span.mark weak`)."""
        self._open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in {"meta", "input", "rect"}:
            self._open.append(".".join(filter(None, (tag, dict(attrs).get("class")))))
            self.texts.append((tuple(self._open), ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().partition(".")[0] == tag

    def handle_data(self, data: str) -> None:
        if self.texts and self.texts[-1][0] == tuple(self._open):
            self.texts[-1] = (self.texts[-1][0], self.texts[-1][1] + data)
        else:
            self.texts.append((tuple(self._open), data))

    def within(self, pattern: str) -> list[str]:
        """The text of the innermost tags that match, each stripped, without those that hold none."""
        found = (text.strip() for path, text in self.texts if path and re.fullmatch(pattern, path[-1]))
        return [text for text in found if text]

    def content(self, tag: str) -> str:
        """All text of the one tag of this kind, as it stands."""
        return "".join(text for path, text in self.texts if path and path[-1].partition(".")[0] == tag)

    @property
    def shown(self) -> str:
        """All that a person reads."""
        return "".join(text for path, text in self.texts if path and path[-1] not in {"style", "script"})
