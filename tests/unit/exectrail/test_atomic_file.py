"""A state file is whole at every moment, and of a format that is known or refused."""

from pathlib import Path

import pytest
from msgspec import Struct

from exectrail.service import atomic_file
from exectrail.service.atomic_file import SmallFile, Unusable


class Kept(Struct):
    number: int
    format: int = 1


def test_a_file_is_replaced_as_a_whole_and_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    atomic_file.replace(path, b"a long first content")
    before = path.stat().st_ino
    atomic_file.replace(path, b"second")

    assert path.read_bytes() == b"second"
    assert path.stat().st_ino != before
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_in_the_place_of_the_new_file_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"theirs")
    (tmp_path / "state.json.part").symlink_to(other)

    with pytest.raises(OSError, match="symbolic links"):
        atomic_file.replace(tmp_path / "state.json", b"ours")
    assert other.read_bytes() == b"theirs"


def test_a_small_file_is_overwritten_in_place(tmp_path: Path) -> None:
    path = tmp_path / "state" / "small.json"
    file = SmallFile(path, 64)
    assert file.read() == b""
    file.write(b'{"number":1000,"format":1}')
    inode = path.stat().st_ino
    file.write(b'{"number":2,"format":1}')
    file.close()

    again = SmallFile(path, 64)
    assert atomic_file.decode(again.read(), Kept, 1, "it") == Kept(2)
    assert path.stat().st_ino == inode
    assert path.stat().st_mode & 0o777 == 0o600
    again.close()


@pytest.mark.parametrize("data", [b"", b"{", b'{"number":1}', b'{"format":"1"}', b'{"format":1}', b"\xff"])
def test_what_is_damaged_is_refused(data: bytes) -> None:
    with pytest.raises(Unusable, match="the state cannot be read: ") as refused:
        atomic_file.decode(data, Kept, 1, "the state")
    assert refused.value.cause == "checkpoint-unreadable"


def test_another_format_is_refused_whatever_else_is_in_it() -> None:
    with pytest.raises(Unusable, match=r"^the state has format 2, and this enricher reads 1$") as refused:
        atomic_file.decode(b'{"format":2,"numbers":[]}', Kept, 1, "the state")
    assert refused.value.cause == "checkpoint-format"


def test_a_missing_file_is_none_and_one_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    assert atomic_file.read(tmp_path / "state.json", "the state") is None

    with pytest.raises(Unusable, match=r"the state cannot be read: .*directory"):
        atomic_file.read(tmp_path, "the state")
