"""What the proc connector's messages say, and what is refused."""

import struct

import pytest

from enricher.sensors.procconn.connector import Event, Execed, Exited, Forked, IdChanged, decode

FORK, EXEC, UID, GID, SID, EXIT = 1, 2, 4, 0x40, 0x80, 0x80000000


def message(what: int, *about: int, connector: tuple[int, int] = (1, 1)) -> bytes:
    """A netlink message as the kernel sends it: nlmsghdr, cn_msg, proc_event."""
    event = struct.pack("=IIQ6I", what, 0, 99, *about, *[0] * (6 - len(about)))
    return struct.pack("=IHHII", 76, 3, 0, 1, 0) + struct.pack("=IIIIHH", *connector, 7, 0, 40, 0) + event


@pytest.mark.parametrize(
    ("raw", "event"),
    [
        (message(FORK, 10, 11, 20, 20), Forked(99, parent=11, child=20)),
        (message(FORK, 10, 11, 21, 20), None),  # a thread
        (message(EXEC, 20, 20), Execed(99, pid=20)),
        (message(EXIT, 21, 20, 0x0700, 17), Exited(99, thread=21, pid=20, status=0x0700)),
        (message(UID, 20, 20, 1000, 1000), IdChanged(99, 20, is_group=False, real=1000)),
        (message(GID, 20, 20, 1001, 1000), IdChanged(99, 20, is_group=True, real=1001)),
        (message(UID, 21, 20, 1000, 1000), None),  # a thread's own
        (message(SID, 20, 20), None),
        (message(EXEC, 20, 20, connector=(3, 1)), None),
        (message(EXEC, 20, 20)[:-1], None),
        (b"", None),
    ],
)
def test_a_message_is_an_event_or_nothing(raw: bytes, event: Event | None) -> None:
    assert decode(raw) == event
