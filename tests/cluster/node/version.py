"""Versions, as tools print them."""

import re


def parse_version(text: str) -> tuple[int, ...]:
    """The first version number in `text`: major, minor and patch, which is 0 where it is left out.

    (0, 0, 0) if there is none.
    """
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(number or 0) for number in found.groups()) if found else (0, 0, 0)
