"""Which lines of auditd's log become SECCOMP records, and which are left alone or counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.audit.log_lines import LogParser
from enricher.audit.own_name import ours
from enricher.audit.parser import parse
from enricher.events import SeccompEvent
from tests.unit.waiting import until

TEXT = (
    b"audit(1795424943.092:9842): auid=4294967295 uid=0 gid=0 ses=4294967295 pid=26255 "
    b'comm="env" exe="/bin/busybox" sig=0 arch=c000003e syscall=59 compat=0 ip=0x461857 code=0x7ffc0000'
)
RAW = b"type=SECCOMP msg=" + TEXT
ENRICHED = RAW + b'\x1dAUID="unset" UID="root" GID="root" ARCH=x86_64 SYSCALL=execve'
FOREIGN = b"type=SYSCALL msg=audit(1795424943.092:9841): arch=c000003e syscall=59 success=yes exit=0 a0=1 key=(null)"
FORGED = b"type=USER_AVC msg=audit(1795424943.092:9843): pid=1 uid=0 msg='x' " + RAW + b" '"


def parsed(*lines: bytes) -> tuple[list[SeccompEvent], LogParser]:
    parser = LogParser(ours("web1", "web1.example.org", lambda _hostname: ""))
    return list(parser.events(b"".join(line + b"\n" for line in lines))), parser


@pytest.mark.parametrize(
    "line",
    [
        RAW,
        ENRICHED,
        RAW + b" \x1dARCH=x86_64",
        RAW + b"\r",
        b"node=web1 " + RAW,
        b"node=WEB1.example.org " + ENRICHED,
        b"node=127.0.0.1 " + RAW,
        b"type=UNKNOWN[1326] msg=" + TEXT,
        b"\0" * 300 + RAW,
    ],
    ids=[
        "raw",
        "enriched",
        "enriched after a space",
        "carriage return",
        "node",
        "node with domain",
        "node by address",
        "unknown type",
        "after NULs that a crash left",
    ],
)
def test_an_event_is_what_the_kernel_said_in_every_format(line: bytes) -> None:
    (record,), parser = parsed(line)
    said = parse(TEXT)
    assert record.via == "auditlog"
    assert {name: getattr(record, name) for name in said.__struct_fields__ if name != "via"} == {
        name: getattr(said, name) for name in said.__struct_fields__ if name != "via"
    }
    assert parser.unparsable == parser.others == 0


@pytest.mark.parametrize(
    "line",
    [
        FOREIGN,
        FORGED,
        FOREIGN + b" exe=" + RAW * 9,
        b"",
        b"no line of this log",
        b"type=SECCOMPX msg=" + TEXT,
    ],
    ids=["another type", "forged in a message", "many times", "empty", "garbage", "a longer type"],
)
def test_a_line_of_another_type_gives_no_event(line: bytes) -> None:
    records, parser = parsed(line, RAW)
    assert len(records) == 1
    assert parser.unparsable == 0


@pytest.mark.parametrize(
    "line",
    [
        RAW[:120],
        RAW[:20] + RAW,
        b"node=web1 " + RAW[:20] + b" " + RAW,
        FOREIGN[:20] + RAW,
        RAW[:40] + b"\0\0" + RAW[42:],
        RAW.replace(b"pid=", b"pid=x"),
        RAW[: RAW.index(b"9842")],
    ],
    ids=[
        "cut",
        "appended to half of one",
        "with its node",
        "appended to half a line",
        "NULs inside",
        "no number",
        "cut in its stamp",
    ],
)
def test_an_event_that_cannot_be_read_is_counted_and_the_next_one_is_read(line: bytes) -> None:
    records, parser = parsed(line, RAW)
    assert len(records) == 1
    assert parser.unparsable == 1


def test_the_lines_of_other_nodes_are_theirs() -> None:
    records, parser = parsed(b"node=web2 " + RAW, b"node=203.0.113.7 " + RAW, b"node=web1 " + RAW)
    assert len(records) == 1
    assert (parser.others, parser.unparsable) == (2, 0)


@pytest.mark.parametrize(
    ("node", "domain", "name", "is_ours"),
    [
        ("web1", "", "web1.example.org", True),
        ("web1", "example.org", "web1.example.org", True),
        ("web1", "example.org", "WEB1.example.org.", True),
        ("web1", "example.org", "web1.other.org", False),
        ("web1", "example.org", "web1", True),
        ("web1.example.org", "", "web1", True),
        ("web1.example.org", "", "web1.other.org", False),
        ("web1.cluster", "example.org", "web1.example.org", True),
        ("web1", "example.org", "web10", False),
        ("web1", "example.org", "web1 of the rack", False),
        ("10.0.0.5", "example.org", "10.0.0.5", True),
        ("10.0.0.5", "example.org", "10.0.0.6", False),
        ("10.0.0.5", "example.org", "10", False),
        ("10.0.0.5", "", "host.example.org", True),
        ("web1", "example.org", "0.0.0.0", False),
        ("web1", "example.org", "127.0.0.1", True),
        ("web1", "", "host", True),
    ],
)
def test_whole_names_are_compared_as_far_as_ours_is_known_and_an_address_is_ours_if_it_is_this_machines(
    node: str, domain: str, name: str, is_ours: bool
) -> None:
    check = ours(node, "host" if domain == "" else "web1", lambda hostname: f"{hostname}.{domain}" if domain else "")
    until(lambda: check(name) is is_ours)


def test_another_hosts_line_of_the_same_first_label_does_not_take_our_own_ones_place() -> None:
    """An auditd that collects: both lines have the same serial."""
    check = ours("web1", "web1", lambda _hostname: "web1.example.org")
    until(lambda: not check("web1.other.org"))
    parser = LogParser(check)
    foreign = b"node=web1.other.org " + RAW.replace(b"pid=26255", b"pid=1")

    events = list(parser.events(foreign + b"\n" + b"node=web1.example.org " + RAW + b"\n"))

    assert [event.pid for event in events] == [26255]
    assert parser.others == 1


def test_a_name_may_be_what_a_site_likes() -> None:
    parser = LogParser(lambda name: name == "rack 7, web 1")
    lines = [b"node=rack 7, web 1 " + RAW, b"node=rack 7, web 2 " + RAW, b"node=rack 7, web 1 " + FORGED]

    assert len(list(parser.events(b"\n".join(lines)))) == 1
    assert (parser.others, parser.unparsable) == (1, 0)


@given(st.lists(st.sampled_from([RAW, ENRICHED, FOREIGN, FORGED, b"x\0y", b"node=web2 " + RAW]), max_size=20))
def test_of_any_lines_exactly_the_events_of_this_node_are_read(lines: list[bytes]) -> None:
    records, parser = parsed(*lines)
    assert len(records) == lines.count(RAW) + lines.count(ENRICHED)
    assert parser.others == lines.count(b"node=web2 " + RAW)


@given(st.binary(max_size=400))
def test_no_bytes_stop_the_reader(junk: bytes) -> None:
    records, _ = parsed(junk, b"type=SECCOMP msg=" + junk, RAW)
    assert records
