"""Cuts words to a size, and says what is missing.

A client chooses how long most words of a request are, and everything that is kept of it costs etcd.
"""

from bisect import bisect_right
from collections.abc import Iterable

import msgspec

from exectrail.contracts.cut import cut_mark

MARKER_BYTES = 48
"""More than a marker takes as JSON, with quotes and comma: a body has no number of more than 7 digits of anything."""


def cut(words: list[str], most: int) -> list[str]:
    """As many words as take at most `most` bytes as a JSON list; the last one says what is missing."""
    if _surely_fit(sum(map(len, words)), len(words), most):
        return words
    if _fitting(words, most) == len(words):
        return words
    most -= MARKER_BYTES
    whole = _fitting(words, most)
    left = most - sum(map(json_bytes, words[:whole]))
    rest = words[whole]
    length = bisect_right(range(1, min(len(rest), max(left, 0)) + 1), left, key=lambda n: json_bytes(rest[:n]))
    missing = _utf8_bytes(words[whole:]) - _utf8_bytes([rest[:length]])
    return [*words[:whole], rest[:length] + cut_mark(missing, len(words) - whole)]


def cut_word(word: str, most: int) -> str:
    """The same of a single word."""
    return word if _surely_fit(len(word), 1, most) else "".join(cut([word], most))


def cut_away(words: list[str]) -> str:
    """What stands in place of all of these words."""
    return cut_mark(_utf8_bytes(words), len(words))


def json_bytes(word: str) -> int:
    """What a word takes as a member of a JSON list, with its quotes and the comma behind it."""
    return len(msgspec.json.encode(word)) + 1


def _surely_fit(characters: int, words: int, most: int) -> bool:
    return 6 * characters + 3 * words <= most  # no character takes more than `\u0001`


def _fitting(words: list[str], most: int) -> int:
    """How many words fit in whole."""
    for number, word in enumerate(words):
        # No character takes less than a byte: a word of megabytes is not encoded to see that it is too long.
        most -= json_bytes(word) if len(word) < most else most + 1
        if most < 0:
            return number
    return len(words)


def _utf8_bytes(words: Iterable[str]) -> int:
    return len("".join(words).encode())
