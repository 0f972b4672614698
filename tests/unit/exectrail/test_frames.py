"""What people really hand over: log files of runtimes, exports of log stores, what PowerShell wrote."""

import gzip
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exectrail import cli
from exectrail.contracts.record import Record, encode
from exectrail.reading.blocks import LONGEST_LINE
from exectrail.reading.frames import IGNORED, Frames

TIME = b"2026-11-23T14:58:03.120456789Z"
LOG_LINE = b'{"time":"t","level":"info","logger":"enricher","message":"hello"}'


def cri(line: bytes) -> bytes:
    """As containerd writes it: in pieces of 16 KiB, here of 300 bytes, and with the agent's own log on stderr."""
    pieces = [line[at : at + 300] for at in range(0, len(line), 300)]
    own = TIME + b" stderr F " + LOG_LINE + b"\n"
    return own + b"".join(
        TIME + b" stdout " + (b"F" if at == len(pieces) - 1 else b"P") + b" " + piece + b"\n"
        for at, piece in enumerate(pieces)
    )


def docker(line: bytes) -> bytes:
    pieces = [line[at : at + 300] for at in range(0, len(line), 300)]
    pieces[-1] += b"\n"
    written = [{"log": piece.decode(), "stream": "stdout", "time": TIME.decode()} for piece in pieces]
    own = {"log": LOG_LINE.decode() + "\n", "stream": "stderr", "time": TIME.decode()}
    return b"".join(json.dumps(each).encode() + b"\n" for each in [own, *written])


def logcli_jsonl(line: bytes) -> bytes:
    return json.dumps({"labels": {"app": "exectrail"}, "line": line.decode(), "timestamp": TIME.decode()}).encode()


def elasticdump(line: bytes) -> bytes:
    return json.dumps({"_index": "logs", "_id": "1", "_source": json.loads(line)}).encode()


FRAMES: dict[str, Callable[[bytes], bytes]] = {
    "a CRI log file": cri,
    "a Docker log file": docker,
    "kubectl logs --timestamps": lambda line: TIME + b" " + line,
    "kubectl logs --prefix": lambda line: b"[pod/exectrail-enricher-x/enricher] " + line,
    "both": lambda line: b"[pod/exectrail-enricher-x/enricher] " + TIME + b" " + line,
    "logcli": lambda line: b'2026-11-23T14:58:03Z {app="exectrail", kind="exec"} ' + line,
    "logcli -o jsonl": logcli_jsonl,
    "elasticdump": elasticdump,
    "jq": lambda line: json.dumps(json.loads(line)).encode(),
}


@pytest.mark.parametrize("frame", FRAMES)
def test_records_are_read_inside_of(
    frame: str, alice_trail: list[Record], alice_uid: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "export"
    path.write_bytes(b"".join(FRAMES[frame](encode(each).rstrip(b"\n")).rstrip(b"\n") + b"\n" for each in alice_trail))

    assert cli.run(["show", alice_uid, str(path)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "sleep 0.1" in printed.out
    assert "processes  6\n" in printed.out
    assert cli.run(["sessions", str(path), "--limit", "1", "-o", "name"]) == 0


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-8-sig"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
def test_what_powershell_wrote_is_read(
    encoding: str, packed: bool, alice_file: Path, alice_uid: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    content = (mark + alice_file.read_text().replace("\n", "\r\n")).encode(encoding)
    alice_file.write_bytes(gzip.compress(content) if packed else content)

    assert cli.run(["show", alice_uid, str(alice_file)]) == 0
    assert "sleep 0.1" in capsys.readouterr().out
    assert cli.run(["sessions", str(alice_file), "--limit", "9", "-o", "name"]) == 0
    assert len(capsys.readouterr().out.split()) == 2


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        (b'{"took":3,"hits":{"hits":[{"_source":{}}]}}', "jq -c '.hits.hits[]' FILE | exectrail COMMAND -"),
        (b'{"status":"success","data":{"result":[]}}', "jq -r '.data.result[].values[][1]' FILE |"),
        (b'[{"version":"spo/v1_alpha"}]', "a JSON array: jq -c '.[]' FILE |"),
        (b'{\n  "version": "spo/v1_alpha",\n', "JSON over several lines: jq -c . FILE |"),
        (b"type=SECCOMP msg=audit(1.000:1): auid=1", "auditd's log: `python -m enricher replay FILE`"),
        (b"PK\x03\x04....", "a zip archive: unzip -p FILE |"),
        (b"\x28\xb5\x2f\xfd....", "zstdcat FILE |"),
        (b"BZh91AY", "bzcat or xzcat FILE |"),
        (b"trail.jsonl".ljust(257, b"\0") + b"ustar\0", "a tar archive: tar -xOf FILE |"),
        (b"\x7fELF\x02\x01\x00\xff\xfe", "malformed"),
        (b"hello\n", "malformed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_trail_is_refused_with_how_to_get_to_one(
    content: bytes, remedy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)

    assert cli.run(["sessions", str(path)]) == 2
    err = capsys.readouterr().err
    assert f"{path}:1: not a record of a trail" in err
    assert remedy in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("size", [1 << 21, 10 << 20], ids=["2 MB", "10 MB"])
@pytest.mark.parametrize("command", [["sessions"], ["sessions", "--limit", "5"], ["show", "0b5e7c"]], ids=" ".join)
def test_a_huge_line_costs_only_itself(
    size: int, command: list[str], alice_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alice_file.write_bytes(b"x" * size + b"\n" + alice_file.read_bytes())

    assert cli.run([*command, str(alice_file)]) == 3
    printed = capsys.readouterr()
    assert "alice" in printed.out
    assert "1 line was no record" in printed.err


def test_trails_of_several_nodes_in_one_file_are_read_as_they_are(
    alice_file: Path, alice_uid: str, capsys: pytest.CaptureFixture[str]
) -> None:
    one = alice_file.read_bytes()
    other = one.replace(b'"name":"node-1"', b'"name":"node-2"').replace(alice_uid.encode(), b"99999999-other")
    alice_file.write_bytes(one + other)

    assert cli.run(["show", alice_uid, str(alice_file)]) == 0
    assert cli.run(["sessions", str(alice_file), "-o", "name"]) == 0
    assert capsys.readouterr().out.split()[-3:] == [alice_uid, "7d1f0a44-92b3-4c0e-8f21-d5b1c9f7e802", "99999999-other"]


def test_trails_of_two_clusters_whose_nodes_have_one_name_are_apart(
    alice_file: Path, alice_uid: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = alice_file.read_bytes().replace(alice_uid.encode(), b"99999999-other").replace(b"9c7d0000", b"77777777")
    (tmp_path / "other.jsonl").write_bytes(other.replace(b"2026-11-23", b"2026-11-24"))
    both = [str(alice_file), str(tmp_path / "other.jsonl")]

    assert cli.run(["sessions", "-o", "name", *both]) == 0
    assert {alice_uid, "99999999-other"} <= set(capsys.readouterr().out.split())
    for uid in (alice_uid, "99999999-other"):
        assert cli.run(["show", uid, *both]) == 0
        assert "processes  6\n" in capsys.readouterr().out


def test_half_a_line_at_the_end_is_said_and_exits_with_3(
    alice_file: Path, alice_uid: str, capsys: pytest.CaptureFixture[str]
) -> None:
    alice_file.write_bytes(alice_file.read_bytes()[:-20])

    assert cli.run(["show", alice_uid, str(alice_file)]) == 3
    printed = capsys.readouterr()
    assert "sleep 0.1" in printed.out
    assert "1 line was no record" in printed.err


@pytest.mark.parametrize("frame", [cri, docker])
def test_half_a_record_at_the_end_of_a_runtimes_log_is_said_and_exits_with_3(
    frame: Callable[[bytes], bytes], alice_trail: list[Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = b"".join(frame(encode(each).rstrip(b"\n")) for each in alice_trail).splitlines(keepends=True)
    path = tmp_path / "0.log"
    path.write_bytes(b"".join(lines[:-1]))

    assert cli.run(["sessions", str(path)]) == 3
    assert capsys.readouterr().err == "exectrail: 1 line was no record\n"


@pytest.mark.parametrize("size", [1, 16384])
def test_a_line_in_pieces_that_never_ends_takes_bounded_memory(size: int) -> None:
    frames = Frames()
    piece = TIME + b" stdout P " + b"x" * size
    tracemalloc.start()
    try:
        for _ in range(5 * LONGEST_LINE // max(size, 64)):
            assert frames.inside(piece) == IGNORED
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 2 * LONGEST_LINE
    assert len(frames.inside(TIME + b" stdout F }") or b"") <= LONGEST_LINE


def test_a_file_that_may_not_be_read_is_named_and_the_rest_is_shown(
    alice_file: Path, alice_uid: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder.jsonl"
    folder.mkdir()

    assert cli.run(["show", alice_uid, str(folder), str(alice_file)]) == 3
    assert f"{folder}: a folder without a trail" in capsys.readouterr().err


@given(st.binary())
def test_frames_never_fail(line: bytes) -> None:
    inner: Any = Frames().inside(line)

    assert inner is None or isinstance(inner, bytes)
