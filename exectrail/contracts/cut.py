"""The mark in place of words that were too long to keep: how much is missing.

A session keeps of a command only what fits; to compare the command later, one has to know where that ends.
"""

import re

_MARK = re.compile(r"\[cut: \d+ bytes in \d+ words\]\Z")


def cut_mark(size: int, words: int) -> str:
    """What stands in place of words that are left out, or at the end of one that is cut.

    Args:
        size: Their bytes, in UTF-8; of words that were never decoded, those of their JSON.
        words: Their number.

    """
    return f"[cut: {size} bytes in {words} words]"


def is_cut(words: list[str]) -> bool:
    """Whether they end in such a mark, or stand for such words."""
    # Nearly all end otherwise, and are not searched.
    return bool(words) and words[-1].endswith("]") and uncut(words) is not words


def uncut(words: list[str]) -> list[str]:
    """The words without such a mark. A user may have typed one: then less of the last word is believed, no more."""
    if not words or not (mark := _MARK.search(words[-1])):
        return words
    return [*words[:-1], words[-1][: mark.start()]]
