"""The recording: all that an enricher was given, in a file that gives it to another one.

JSON lines. The first is the `Header`; each other line says when it was read (microseconds since the recording began),
of which kind it is, and the thing itself. Bytes of the kernel stand as text in Latin-1, so that each is one character.
"""

import typing
from typing import Any, Final

import msgspec
from msgspec import NODEFAULT, Raw, Struct, structs

from enricher.containers.containers import CgroupRef
from enricher.containers.pods import Namespace, Pod
from enricher.events import Process, ProcessEvent
from exectrail.contracts.record import Origin
from exectrail.contracts.session import AuditSession
from exectrail.contracts.unreadable import UNREADABLE

VERSION: Final = 1


class Broken(ValueError):
    """A line or a file that is no recording; the message says what is wrong with it."""


class Header(Struct, frozen=True):
    """Where and when a recording was made."""

    recording: int
    """The version of the format; its key tells a recording from other files."""
    node: str
    boot_id: str
    sensor: str
    audit_source: str
    boot: int
    """When it began, in nanoseconds since boot."""
    offset: int
    """Nanoseconds from boot time to the time since the epoch."""
    reports_failed_execs: bool = False
    """Whether the sensor tells of failed execs."""


class Located(Struct, frozen=True):
    """From here on, events of this cgroup are in this place."""

    cgroup: int
    place: CgroupRef


class PodSeen(Struct, frozen=True):
    """A pod came or changed, or went: null."""

    key: str
    object: Pod | None = None


class NamespaceSeen(Struct, frozen=True):
    """A namespace came or changed, or went: null."""

    key: str
    object: Namespace | None = None


class SessionSeen(Struct, frozen=True):
    """A request came into the sensor, or left it: null."""

    key: str
    object: AuditSession | None = None


class Backfilled(Struct, frozen=True):
    """A process that was there before anybody watched, as the tree took it in."""

    container_id: str
    process: Process
    parent: Process
    born: int
    entry: Process
    argv: str = ""
    origin: Origin | None = None


class Gone(Struct, frozen=True):
    """A container is gone, or no longer recorded."""

    container_id: str


class Offset(Struct, frozen=True):
    """The wall clock was set: the new offset, as in the header."""

    offset: int


class Lost(Struct, frozen=True):
    """Events that the kernel had no room for, by cause."""

    lost: dict[str, int]


class Audit(Struct, frozen=True):
    """A SECCOMP record: the text that the kernel sent."""

    text: str


Item = ProcessEvent | Audit | Located | PodSeen | NamespaceSeen | SessionSeen | Backfilled | Gone | Offset | Lost
"""What a line can hold."""

_EMPTY: Final[tuple[Any, ...]] = (None, "", [], {})

_KINDS: Final[dict[type[Any], str]] = {
    each: each.__name__.lower().removesuffix("seen").removesuffix("event") for each in typing.get_args(Item)
}
_TYPES: Final = {kind: each for each, kind in _KINDS.items()}


class Line(Struct, frozen=True, omit_defaults=True):
    """A line after the first."""

    at: int
    kind: str
    data: Raw
    seccomp: str = ""
    """Of an event: the text of its SECCOMP record, where the sensor joined the two itself."""


_decode_header = msgspec.json.Decoder(Header).decode
_decode_line = msgspec.json.Decoder(Line).decode
_decode_plain = msgspec.json.Decoder(dict[str, Any]).decode


def encode(at: int, item: Item, seccomp: bytes = b"") -> bytes:
    """One line, with its newline."""
    data = _event_to_plain(item) if isinstance(item, ProcessEvent) else _without_empty(msgspec.to_builtins(item))
    return msgspec.json.encode(Line(at, _KINDS[type(item)], Raw(msgspec.json.encode(data)), text(seccomp))) + b"\n"


def decode_header(line: bytes) -> Header:
    """Read the first line.

    Raises:
        Broken: It is of another version, or no header at all.

    """
    try:
        header = _decode_header(line)
    except UNREADABLE as error:
        raise Broken(f"no header of a recording: {error}") from error
    if header.recording != VERSION:
        raise Broken(f"a recording of version {header.recording}; this enricher reads version {VERSION}")
    return header


def decode(line: bytes) -> tuple[int, Item, bytes]:
    """Read another line: when it was, what it holds, and the text of the SECCOMP event that an event holds.

    Raises:
        Broken: It is none.

    """
    try:
        read = _decode_line(line)
        kind = _TYPES[read.kind]
        seccomp = raw(read.seccomp)
        if issubclass(kind, ProcessEvent):
            return read.at, _event_from_plain(kind, _decode_plain(read.data)), seccomp
        return read.at, msgspec.json.decode(read.data, type=kind), seccomp
    except KeyError as error:
        raise Broken(f"lines of kind {error} are unknown to this enricher") from error
    except UNREADABLE as error:
        raise Broken(str(error)) from error


def text(raw: bytes) -> str:
    """Bytes of the kernel as they stand in a recording."""
    return raw.decode("latin-1")


def raw(written: str) -> bytes:
    """Bytes of the kernel from a recording.

    Raises:
        UnicodeEncodeError: There are characters that stand for no byte.

    """
    return written.encode("latin-1")


def _event_to_plain(event: ProcessEvent) -> dict[str, Any]:
    """An event's fields; those that say nothing are left out."""
    values = ((field, getattr(event, field.name)) for field in structs.fields(event))
    return {
        field.name: text(value) if isinstance(value, bytes) else value
        for field, value in values
        if field.default is NODEFAULT or value != field.default
    }


def _without_empty(plain: object) -> object:
    """Objects of the API without the fields that say nothing, which are most."""
    if isinstance(plain, dict):
        return {key: kept for key, value in plain.items() if (kept := _without_empty(value)) not in _EMPTY}
    return [_without_empty(each) for each in plain] if isinstance(plain, list) else plain


def _event_from_plain(kind: type[Any], plain: dict[str, Any]) -> ProcessEvent:
    for field in structs.fields(kind):
        value = plain.get(field.name)
        if isinstance(value, str) and bytes in (field.type, *typing.get_args(field.type)):
            plain[field.name] = raw(value)
    event: ProcessEvent = msgspec.convert(plain, kind)
    return event
