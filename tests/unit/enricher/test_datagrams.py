import errno
import selectors
import socket
from collections.abc import Iterator

import pytest

from enricher.audit.datagrams import AT_ONCE, Datagrams
from enricher.audit.netlink_socket import BATCH

NETLINK_USERSOCK = 2
LARGEST = 4096


@pytest.fixture
def received() -> Iterator[Datagrams]:
    plain = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, NETLINK_USERSOCK)
    plain.bind((0, 0))
    with Datagrams(plain, LARGEST) as taken_over:
        yield taken_over


@pytest.fixture
def sender() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, NETLINK_USERSOCK) as other:
        other.bind((0, 0))
        yield other


def all_of(received: Datagrams) -> list[tuple[bytes, tuple[int, int]]]:
    every = []
    while True:
        try:
            every.append(received.recvfrom(LARGEST))
        except BlockingIOError:
            return every


@pytest.mark.parametrize("number", [0, 1, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 2 * AT_ONCE])
def test_datagrams_come_whole_and_in_their_order_with_the_port_of_their_sender(
    received: Datagrams, sender: socket.socket, number: int
) -> None:
    texts = [b"%d" % each * (1 + each % 7) for each in range(number)]
    for text in texts:
        sender.sendto(text, received.getsockname())
    assert all_of(received) == [(text, (sender.getsockname()[0], 0)) for text in texts]


def test_what_comes_while_a_short_batch_is_read_stays_where_a_selector_sees_it(
    received: Datagrams, sender: socket.socket
) -> None:
    assert BATCH % AT_ONCE == 0  # a bounded read ends with whole batches, too
    sender.sendto(b"first", received.getsockname())
    assert received.recvfrom(LARGEST)[0] == b"first"
    sender.sendto(b"second", received.getsockname())
    with pytest.raises(BlockingIOError):
        received.recvfrom(LARGEST)
    with selectors.DefaultSelector() as selector:
        selector.register(received, selectors.EVENT_READ)
        assert selector.select(0)
    assert [text for text, _ in all_of(received)] == [b"second"]


def test_a_datagram_keeps_its_own_sender_and_size_whatever_came_before_in_its_place(
    received: Datagrams, sender: socket.socket
) -> None:
    sender.sendto(b"x" * LARGEST, received.getsockname())
    assert all_of(received) == [(b"x" * LARGEST, (sender.getsockname()[0], 0))]
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_USERSOCK) as other:
        other.bind((0, 0))
        other.sendto(b"y", received.getsockname())
        assert all_of(received) == [(b"y", (other.getsockname()[0], 0))]


def test_what_is_longer_than_the_largest_is_cut_and_harms_no_other(received: Datagrams, sender: socket.socket) -> None:
    for text in (b"a", b"b" * (LARGEST + 1), b"c"):
        sender.sendto(text, received.getsockname())
    assert [text for text, _ in all_of(received)] == [b"a", b"b" * LARGEST, b"c"]


def test_a_closed_socket_raises_as_an_ordinary_one_does(received: Datagrams) -> None:
    received.close()
    with pytest.raises(OSError, match="Bad file descriptor") as error:
        received.recvfrom(LARGEST)
    assert error.value.errno == errno.EBADF
