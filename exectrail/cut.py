"""The mark at the end of a list of words that was too long to keep: how much is missing."""

import re

_MARK = re.compile(r"\[cut: \d+ bytes in \d+ words\]\Z")


def cut_mark(missing: int, words: int) -> str:
    """What the last word that is kept ends with: so many bytes are missing, of so many words."""
    return f"[cut: {missing} bytes in {words} words]"


def uncut(words: list[str]) -> list[str]:
    """The words without such a mark. A user may have typed one: then less of the last word is believed, no more."""
    if not words or not (mark := _MARK.search(words[-1])):
        return words
    kept = words[-1][: mark.start()]
    return [*words[:-1], kept]
