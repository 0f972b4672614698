"""A trail read from its end: the same lines whether its segments are compressed or not, in little memory."""

import gzip
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.trail import tail
from enricher.trail.folder import Folder

SEGMENT = "trail-2026-11-23T14-58-03.120.jsonl"


def newest_first(folder: Path) -> list[bytes]:
    with Folder(folder) as opened:
        return list(tail.newest_first(opened, "trail.jsonl"))


def write(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(gzip.compress(content, 1) if name.endswith(".gz") else content)


@pytest.mark.parametrize("name", [SEGMENT, f"{SEGMENT}.gz"])
def test_the_file_that_is_written_comes_before_its_segments(name: str, tmp_path: Path) -> None:
    write(tmp_path, name, b"0\n1\n")
    write(tmp_path, "trail.jsonl", b"2\n3\n")

    assert newest_first(tmp_path) == [b"3", b"2", b"1", b"0"]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.binary(min_size=1, max_size=40).map(lambda line: line.replace(b"\n", b" ")), max_size=30), st.booleans()
)
def test_a_compressed_segment_has_the_same_lines_backwards(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], cut: bool
) -> None:
    folder = tmp_path_factory.mktemp("trail")
    content = b"".join(line + b"\n" for line in lines) + (b"begun" if cut else b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tail, "_PACKED_CHUNK", 7)
        patch.setattr(tail, "_READ", 5)
        write(folder, f"{SEGMENT}.gz", content)

        assert newest_first(folder) == lines[::-1]


def test_of_a_compressed_segment_that_is_cut_what_is_whole_is_read(tmp_path: Path) -> None:
    packed = gzip.compress(b"".join(b"%d %s\n" % (number, os.urandom(20).hex().encode()) for number in range(1000)))
    (tmp_path / f"{SEGMENT}.gz").write_bytes(packed[: len(packed) // 2])

    numbers = [int(line.split()[0]) for line in newest_first(tmp_path)]

    assert 300 < len(numbers) < 700
    assert numbers == list(range(len(numbers)))[::-1]


def test_a_large_compressed_segment_takes_little_memory(tmp_path: Path) -> None:
    lines = [b'{"seq":%d,"kind":"exec","argv":["%s"]}' % (number, b"x" * 900) for number in range(60_000)]
    write(tmp_path, f"{SEGMENT}.gz", b"\n".join(lines) + b"\n")
    last = lines[-1]
    del lines

    tracemalloc.start()
    with Folder(tmp_path) as folder:
        found = tail.newest_first(folder, "trail.jsonl")
        assert next(found) == last
        assert sum(1 for _ in found) == 59_999
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 20 << 20
