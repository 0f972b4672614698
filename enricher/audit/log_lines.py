"""Reads lines of auditd's log (auditd(8), auditd.conf(5)), in whichever of its formats.

    node=web1 type=SECCOMP msg=audit(1795424943.092:9842): auid=... code=0x7ffc0000<1D>ARCH=x86_64 SYSCALL=execve ...

What follows `msg=` is the kernel's text. `log_format = ENRICHED` appends what auditd made of it, after a byte 0x1D;
`name_format` puts the node's name in front, with `name_format = user` whatever a site likes.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from enricher.audit import parser
from enricher.events import SeccompEvent

# Anchored at the start: the text of other types (type=USER_CMD) is user space's to choose, and could hold all of this.
# auditd makes a space of each newline in it.
_LINE: Final = re.compile(rb"(?:node=(.+?) )?type=(\S+) msg=(audit\(\d+\.\d+:\d+\):.*)", re.DOTALL)
_ENRICHMENT: Final = b"\x1d"
_SECCOMP: Final = frozenset({b"SECCOMP", b"1326", b"UNKNOWN[1326]"})
# How auditd itself writes the type: by its name, or so where its libaudit does not know the name. What the kernel
# prints when no auditd runs has `type=1326`, which is in no log of auditd; the longer what is searched, the faster.
_NEEDLES: Final = (b"type=SECCOMP msg=audit(", b"type=UNKNOWN[1326] msg=audit(")


class LogLine(Struct, frozen=True):
    """A line of the log: an audit record of one type."""

    node: str | None
    seccomp: bool
    text: bytes
    """The kernel's own words, as over netlink."""


def read_line(line: bytes) -> LogLine | None:
    """Read one line, with or without its newline; None if it is not of this log."""
    match = _LINE.fullmatch(line.rstrip(b"\r\n"))
    if match is None:
        return None
    node, type_, message = match.groups()
    if node and b" type=" in node:  # half a line, to which this one was appended
        return None
    # A trailing space is what some versions of auditd leave before the enrichment.
    text = message.partition(_ENRICHMENT)[0].rstrip(b" ")
    return LogLine(node.decode("ascii", "backslashreplace") if node else None, type_ in _SECCOMP, text)


def candidates(lines: bytes) -> Iterator[bytes]:
    """Those of many lines that may be SECCOMP events, each without its newline.

    The others are not looked at one by one: their bytes are searched, which is much faster than to split them.
    """
    for needle in _NEEDLES:
        at = 0
        while (found := lines.find(needle, at)) >= 0:
            begin = lines.rfind(b"\n", at, found) + 1 or at
            end = lines.find(b"\n", found)
            at = len(lines) if end < 0 else end + 1  # a line that has it a thousand times is looked at once
            yield lines[begin : at if end < 0 else end]


class LogParser:
    """SECCOMP events of this node's log.

    Attribute `unparsable` counts lines with such an event in them that cannot be read; `others`, those that another
    node has sent to this one's auditd.

    Args:
        is_ours: Whether `node=NAME` names this node.

    """

    def __init__(self, is_ours: Callable[[str], bool]) -> None:
        self.unparsable = self.others = 0
        self._is_ours = is_ours

    def events(self, lines: bytes) -> Iterator[SeccompEvent]:
        """The events in whole lines, in their order unless auditd wrote their type in different ways."""
        for line in candidates(lines):
            # A crash of the node can leave NULs at the end of a file, where the next line is then appended.
            read = read_line(line.lstrip(b"\0"))
            if read is None:  # e.g. half a line, to which this one was appended
                self.unparsable += 1
            elif read.seccomp and (event := self._event(read)):
                yield event

    def _event(self, read: LogLine) -> SeccompEvent | None:
        if read.node and not self._is_ours(read.node):
            self.others += 1
            return None
        try:
            return replace(parser.parse(read.text), via="auditlog")
        except parser.Unparsable:
            self.unparsable += 1
            return None
