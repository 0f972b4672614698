"""Foreign text made safe to show: as a person would type it into a shell, and never as a terminal would obey it.

What ran in a container is its user's choice. An escape sequence in an argument could retitle the reader's
terminal, hide lines or answer back; a bidirectional override could make one command look like another. Both stay
visible here, as escapes.
"""

import json
import shlex
from collections.abc import Iterable

# In double quotes these keep a meaning of their own (POSIX shell, 2.2.3; `!` is the history expansion of bash).
_ACTIVE_IN_DOUBLE_QUOTES = frozenset('"$`\\!')
_NAMED = {"\n": r"\n", "\t": r"\t", "\r": r"\r", "\\": r"\\", "'": r"\'"}


def visible(text: str) -> str:
    """The text with everything that does not print (controls, format characters, odd spaces) as escapes."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def visible_json(line: bytes) -> str:
    """A line of JSON that means the same, with escapes as JSON has them for what does not print."""
    text = line.decode(errors="backslashreplace")
    return text if text.isprintable() else "".join(c if c.isprintable() else _json_escape(c) for c in text)


def join(argv: Iterable[str]) -> str:
    """An argument list as one line for a shell."""
    return " ".join(map(quote, argv))


def quote(argument: str) -> str:
    """One argument, quoted only where it must be; `$'...'` (POSIX 2024) where it holds what does not print."""
    if not argument.isprintable():
        return "$'" + "".join(_NAMED.get(c) or (c if c.isprintable() else _escape(c)) for c in argument) + "'"
    if "'" not in argument:
        return shlex.quote(argument)
    if _ACTIVE_IN_DOUBLE_QUOTES.isdisjoint(argument):
        return f'"{argument}"'
    return "$'" + "".join(_NAMED.get(c, c) for c in argument) + "'"


def _json_escape(char: str) -> str:
    return json.dumps(char)[1:-1] if ord(char) >= 0x80 else f"\\u{ord(char):04x}"


def _escape(char: str) -> str:
    code = ord(char)
    if char in _NAMED:
        return _NAMED[char]
    if code < 0x80:
        return f"\\x{code:02x}"
    # \x80 and up would be a byte to a shell, not a character.
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
