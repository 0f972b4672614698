"""Records inside of what other programs put around them: container runtimes, kubectl, log stores.

Read where it is unambiguous; of the rest, `hint` says how to get to the records.
"""

import re
from typing import Any

import msgspec

from exectrail.contracts.unreadable import UNREADABLE
from exectrail.reading import gzipped
from exectrail.reading.blocks import LONGEST_LINE

_TIME = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)"
_CRI = re.compile(rb"%s (stdout|stderr) ([FP])[^ ]* (.*)" % _TIME, re.DOTALL)
"""A log file of containerd or CRI-O (CRI logging format); `P` marks all but the last piece of a line."""
_BEFORE = re.compile(rb"(?:\[pod/[^\]]+\] )?(?:%s )?(?:\{[^{}]*\}\s+)?(?=\{)" % _TIME)
"""What `kubectl logs --timestamps`, `--prefix` and logcli put before a line: a pod, a time, labels."""

IGNORED = b""
"""Stands for a line that is no record and no damage: of the agent's own log, or a piece of one to come."""


class _Docker(msgspec.Struct):
    """A line of Docker's json-file driver; a piece of a line has no newline at its end."""

    log: str
    stream: str


class _Logcli(msgspec.Struct):
    """A line of `logcli query -o jsonl`."""

    line: str
    labels: dict[str, Any]


class _Document(msgspec.Struct):
    """A document of an Elasticsearch export, as elasticdump and `jq -c '.hits.hits[]'` leave it."""

    source: msgspec.Raw = msgspec.field(name="_source")


_frame = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Frames:
    """Takes records out of their frames, line by line; keeps the pieces of a cut line."""

    def __init__(self) -> None:
        self._pieces = bytearray()

    @property
    def waits(self) -> bool:
        """Whether the last piece of a line has not come."""
        return bool(self._pieces)

    def inside(self, line: bytes) -> bytes | None:
        """What is in a line, `IGNORED`, or None where there is no frame."""
        if cri := _CRI.fullmatch(line):
            return self._whole(cri[1], cri[3], ended=cri[2] == b"F")
        if line.startswith(b"{"):
            return self._json(line)
        before = _BEFORE.match(line)
        return line[before.end() :] if before and before.end() else None

    def _json(self, line: bytes) -> bytes | None:
        try:
            keys = _frame.decode(line).keys()
            if "_source" in keys:
                return bytes(msgspec.json.decode(line, type=_Document).source)
            if {"log", "stream"} <= keys:
                docker = msgspec.json.decode(line, type=_Docker)
                return self._whole(docker.stream.encode(), docker.log.encode(), ended=docker.log.endswith("\n"))
            if {"line", "labels"} <= keys:
                return msgspec.json.decode(line, type=_Logcli).line.encode()
        except UNREADABLE:
            pass
        return None

    def _whole(self, stream: bytes, piece: bytes, *, ended: bool) -> bytes:
        if stream != b"stdout":
            return IGNORED
        self._pieces += piece[: LONGEST_LINE - len(self._pieces)]  # a longer line is no record, whatever comes of it
        if not ended:
            return IGNORED
        line = bytes(self._pieces)
        self._pieces.clear()
        return line.rstrip(b"\n")


def hint(line: bytes) -> str:
    """How to get to the records of what begins with this line; empty where it is not recognised."""
    start = line.lstrip()[:4096]
    for pattern, remedy in _HINTS:
        if re.match(pattern, start, re.DOTALL):
            return remedy.replace("| ...", "| exectrail COMMAND -")
    return ""


_HINTS = (
    (rb"\{\s*\"(?:took|_scroll_id|hits)\"", "an answer of Elasticsearch: jq -c '.hits.hits[]' FILE | ..."),
    (
        rb"\{\s*\"status\"\s*:\s*\"success\"",
        "an answer of Loki: jq -r '.data.result[].values[][1]' FILE | ...",
    ),
    (rb"\[\s*(?:\{|$)", "a JSON array: jq -c '.[]' FILE | ..."),
    (rb"\{\s*(?:\"[^\"]*\"\s*:.*,)?\s*$", "JSON over several lines: jq -c . FILE | ..."),
    (rb"(?:node=\S+ )?type=[A-Z]", "auditd's log: `python -m enricher replay FILE` makes a trail of it"),
    (re.escape(gzipped.UNREADABLE.encode()), "its compressed data is cut or damaged"),
    (rb"PK\x03\x04", "a zip archive: unzip -p FILE | ..."),
    (rb"\x28\xb5\x2f\xfd", "compressed by zstd: zstdcat FILE | ..."),
    (rb"BZh|\xfd7zXZ", "compressed by bzip2 or xz: bzcat or xzcat FILE | ..."),
    (rb".{257}ustar", "a tar archive: tar -xOf FILE | ..."),
)
