import contextlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from enricher.audit.parser import Unparsable, parse
from enricher.events import SeccompEvent

GOLDEN: list[dict[str, Any]] = json.loads((Path(__file__).parent / "data/audit_records.json").read_text())

TEXT = (
    b"audit(1795424943.092:9842): auid=4294967295 uid=0 gid=0 ses=4294967295 pid=26255 "
    b'comm="env" exe="/bin/busybox" sig=0 arch=c000003e syscall=59 compat=0 ip=0x461857 code=0x7ffc0000'
)


@pytest.mark.parametrize("golden", GOLDEN, ids=[each["name"] for each in GOLDEN])
def test_a_record_says_what_the_kernel_wrote(golden: dict[str, Any]) -> None:
    record = msgspec.structs.asdict(parse(golden["text"].encode()))
    for name in ("comm", "exe"):
        record[name] = record[name] if record[name] is None else record[name].decode("latin-1")
    assert record == golden["record"] | {"via": "netlink"}


MALFORMED = {
    "empty": b"",
    "another record's text": b"audit(1795424943.092:9842): pid=1 uid=0 auid=0 ses=1 msg='op=login'",
    "text before": b"x" + TEXT,
    "text after": TEXT + b" pid=1",
    "a line end": TEXT + b"\n",
    "a NUL": TEXT + b"\0",
    "auditd's enrichment": TEXT + b"\x1dARCH=x86_64",
    "two records": TEXT + TEXT,
    "cut in the middle": TEXT[: len(TEXT) // 2],
    "no clock": TEXT.replace(b"1795424943.092:", b""),
    "seconds without milliseconds": TEXT.replace(b".092", b""),
    "microseconds": TEXT.replace(b".092", b".092000"),
    "a pid that is no number": TEXT.replace(b"pid=26255", b"pid=self"),
    "a negative pid": TEXT.replace(b"pid=26255", b"pid=-1"),
    "a second with zeros in front": TEXT.replace(b"1795424943.", b"0795424943."),
    "a number where the pid is": TEXT.replace(TEXT[TEXT.index(b" auid") : TEXT.index(b" comm")], b"55"),
    "no pid": TEXT.replace(b" pid=26255", b""),
    "digits that are not ASCII": TEXT.replace(b"pid=26255", "pid=٢٦".encode()),
    "a number longer than any": TEXT.replace(b"syscall=59", b"syscall=" + b"9" * 5000),
    "a quote within a name": TEXT.replace(b'"env"', b'"e"nv"'),
    "a space within quotes": TEXT.replace(b'"env"', b'"e nv"'),
    "a name that is neither quoted nor hex": TEXT.replace(b'"env"', b"env"),
    "a name in small hex": TEXT.replace(b'"env"', b"6d79"),
    "half a byte": TEXT.replace(b'"env"', b"6D7"),
    "no exe": TEXT.replace(b' exe="/bin/busybox"', b""),
    "fields in another order": TEXT.replace(b"uid=0 gid=0", b"gid=0 uid=0"),
    "a field twice": TEXT.replace(b"uid=0", b"uid=0 uid=0"),
    "two spaces": TEXT.replace(b" pid", b"  pid"),
    "capital arch": TEXT.replace(b"c000003e", b"C000003E"),
    "a label over two lines": TEXT.replace(b" pid", b" subj=a\nb pid"),
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_anything_else_is_refused(text: bytes) -> None:
    with pytest.raises(Unparsable):
        parse(text)


def test_the_error_quotes_no_more_than_200_bytes() -> None:
    with pytest.raises(Unparsable) as error:
        parse(b"A" * 1000)
    assert "A" * 200 in str(error.value)
    assert "A" * 201 not in str(error.value)


def parse_or_refuse(text: bytes) -> None:
    with contextlib.suppress(Unparsable):
        parse(text)


@given(st.binary())
@example(TEXT[:-1] + b"\xff")
def test_no_bytes_raise_anything_else(text: bytes) -> None:
    parse_or_refuse(text)


@given(st.integers(0, len(TEXT) - 1), st.binary(max_size=4), st.integers(0, 8))
def test_no_damaged_record_raises_anything_else(place: int, put: bytes, cut: int) -> None:
    parse_or_refuse(TEXT[:place] + put + TEXT[place + cut :])


def untrusted(value: bytes | None) -> bytes:
    """As audit_log_untrustedstring() writes it."""
    if value is None:
        return b"(null)"
    hidden = any(byte == ord('"') or not 0x21 <= byte <= 0x7E for byte in value)
    return value.hex().upper().encode() if hidden else b'"%b"' % value


def written(record: SeccompEvent, subject: bytes | None) -> bytes:
    """As audit_seccomp() writes it."""
    auid, uid, gid, ses = (
        2**32 - 1 if each is None else each for each in (record.auid, record.uid, record.gid, record.ses)
    )
    return b"".join(
        (
            b"audit(%d.%03d:%d):" % (record.time // 1000, record.time % 1000, record.serial),
            b" auid=%d uid=%d gid=%d ses=%d" % (auid, uid, gid, ses),
            b"" if subject is None else b" subj=%b" % subject,
            b" pid=%d comm=%b exe=%b" % (record.pid, untrusted(record.comm), untrusted(record.exe)),
            b" sig=%d arch=%x syscall=%d compat=0" % (record.signal, record.arch, record.syscall),
            b" ip=0x7f99a71f8ad7 code=0x%x" % record.code,
        )
    )


U32 = st.integers(0, 2**32 - 1)
IDENTIFIER = st.none() | st.integers(0, 2**32 - 2)
NAME = st.none() | st.binary(max_size=15)
PATH = st.none() | st.binary(max_size=40).map(lambda rest: b"/" + rest)
RECORD = st.builds(
    SeccompEvent,
    time=st.integers(0, 10**14),
    serial=U32,
    pid=st.integers(1, 2**22),
    uid=IDENTIFIER,
    gid=IDENTIFIER,
    auid=IDENTIFIER,
    ses=IDENTIFIER,
    comm=NAME,
    exe=PATH,
    signal=st.integers(0, 64),
    arch=U32,
    syscall=st.integers(-(2**31), 2**31 - 1),
    code=U32,
)
LABEL = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\n")).map(str.encode)


@given(RECORD, LABEL)
def test_every_record_is_read_back_as_it_was_written(record: SeccompEvent, label: bytes | None) -> None:
    assert parse(written(record, label)) == record


@pytest.mark.parametrize(
    ("old", "new", "field", "value"),
    [
        (b" uid=0", b" uid=7", "uid", 7),
        (b'"env"', b'"vne"', "comm", b"vne"),
        (b'"env"', b"20", "comm", b" "),
        (b"syscall=59", b"syscall=56", "syscall", 56),
        (b"code=0x7ffc0000", b"code=0x50001", "code", 0x50001),
    ],
)
def test_a_record_is_read_for_itself_whatever_it_shares_with_the_ones_before(
    old: bytes, new: bytes, field: str, value: object
) -> None:
    first, other, again = parse(TEXT), parse(TEXT.replace(old, new)), parse(TEXT)
    assert first == again
    assert getattr(other, field) == value
