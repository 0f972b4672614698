"""A flag that takes labels."""

import argparse
import re
from typing import Final

_LABEL: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9_./-]*)=([A-Za-z0-9_.-]*)")


def labels(text: str) -> dict[str, str]:
    """A flag's value, `KEY=VALUE,...`.

    Raises:
        argparse.ArgumentTypeError: It is none.

    """
    found: dict[str, str] = {}
    for each in filter(None, text.split(",")):
        if not (match := _LABEL.fullmatch(each)):
            raise argparse.ArgumentTypeError(f"{each!r} is no label: expected KEY=VALUE")
        found[match[1]] = match[2]
    return found
