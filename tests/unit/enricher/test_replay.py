"""What `python -m enricher replay` does with good files, bad files and none."""

import gzip
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest

from enricher import __main__ as enricher
from enricher.support import replay

GOLDEN = Path(__file__).parent / "golden"
RECORDING = GOLDEN / "exec-in-a-profiled-container.input"
TEXT = (
    "audit(1795424943.092:9842): auid=4294967295 uid=0 gid=0 ses=4294967295 pid=26255 "
    'comm="env" exe="/bin/busybox" sig=0 arch=c000003e syscall=59 compat=0 ip=0x461857 code=0x7ffc0000'
)


def run(capture: pytest.CaptureFixture[str], *args: object) -> tuple[int, list[dict[str, Any]], str]:
    code = replay.main([str(arg) for arg in args])
    out, err = capture.readouterr()
    return code, [json.loads(line) for line in out.splitlines()], err


def written(folder: Path, *lines: str, name: str = "audit.log") -> Path:
    file = folder / name
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


def test_the_same_seed_gives_the_same_lines_and_another_only_other_ids(capsys: pytest.CaptureFixture[str]) -> None:
    _, first, _ = run(capsys, RECORDING)
    _, again, _ = run(capsys, RECORDING)
    _, other, _ = run(capsys, "--seed", 1, RECORDING)

    assert first == again
    assert [line["auditID"] for line in first] != [line["auditID"] for line in other]
    assert [line.get("cmdLine") for line in first] == [line.get("cmdLine") for line in other]


def test_time_is_the_recordings(capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()

    _, lines, _ = run(capsys, "--hold-ms", 3_600_000, RECORDING)

    assert lines
    assert time.monotonic() - began < 5


def test_a_log_of_auditd_becomes_system_calls_with_what_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, (line,), _ = run(capsys, written(tmp_path, f"node=web1 type=SECCOMP msg={TEXT}"))

    assert code == replay.OK
    assert (line["kind"], line["resource"], line["reason"]) == ("syscall", None, "no-sensor")
    assert (line["node"], line["executable"], line["syscalls"]) == ({"name": "web1"}, "/bin/busybox", ["execve"])
    assert (line["source"], "processKey" in line) == ("auditlog", False)


def test_the_node_of_a_log_that_does_not_name_it_is_given_by_a_flag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, (line,), _ = run(capsys, "--node", "web7", written(tmp_path, f"type=SECCOMP msg={TEXT}"))

    assert line["node"] == {"name": "web7"}


@pytest.mark.parametrize(
    "line",
    [
        f"type=SECCOMP msg={TEXT}",
        f"type=1326 msg={TEXT}",
        f"type=UNKNOWN[1326] msg={TEXT}",
        f'type=SECCOMP msg={TEXT}\x1dARCH=x86_64 SYSCALL=execve AUID="unset" UID="root" GID="root"',
        f'type=SECCOMP msg={TEXT} \x1dARCH=x86_64 SYSCALL=execve AUID="unset" UID="root" GID="root"',
        f"node=web1 type=SECCOMP msg={TEXT}\r",
    ],
)
def test_each_of_auditds_formats_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str) -> None:
    _, lines, _ = run(capsys, written(tmp_path, line))

    assert [each["pid"] for each in lines] == [26255]


def test_a_record_inside_another_records_text_is_not_believed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = f"type=USER msg=audit(1795424943.092:1): pid=1 msg='type=SECCOMP msg={TEXT}'"

    code, lines, _ = run(capsys, written(tmp_path, forged))

    assert (code, lines) == (replay.OK, [])


def test_broken_lines_are_counted_and_the_others_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = [f"nonsense {number}" for number in range(20)]

    code, lines, said = run(capsys, written(tmp_path, f"type=SECCOMP msg={TEXT}", *broken, "type=SECCOMP msg=audit(1"))

    assert (code, len(lines)) == (replay.OK, 1)
    assert "audit.log:2: not a line of auditd's log: b'nonsense 0" in said
    assert "nonsense 9" not in said
    assert "1 lines read, 21 broken" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "0 lines read"),
        ("nonsense\n", "not a line of auditd's log"),
        (
            '{"recording":99,"node":"","boot_id":"","sensor":"","audit_source":"","boot":0,"offset":0}\n',
            "of version 99",
        ),
        ('{"some":"json"}\n', "no header of a recording"),
    ],
)
def test_where_nothing_can_be_read_the_exit_code_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, said: str
) -> None:
    file = tmp_path / "file"
    file.write_text(content)

    code, lines, errors = run(capsys, file)

    assert (code, lines) == (replay.NOTHING_READ, [])
    assert said in errors


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'{"ID":"1.2:3","NODE":"web1","SECCOMP":{"pid":1}}\n', "JSON with the keys ID, NODE, SECCOMP"),
        (
            b"Nov 29 03:00:00 web1 kernel: audit: type=1326\n",
            "lines like 'Nov 29 03:00:00 web1 kernel: audit: type=1326'",
        ),
        (b"\x7fELF\x02\x01\n", "bytes that are no text"),
    ],
    ids=["laurel", "syslog", "a program"],
)
def test_of_another_tools_file_it_is_said_what_was_found_and_what_was_expected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, found: str
) -> None:
    (file := tmp_path / "other").write_bytes(content)

    code, lines, said = run(capsys, file)

    assert (code, lines) == (replay.NOTHING_READ, [])
    assert f"found {found}, expected a recording of `python -m enricher capture`, or auditd's log" in said


def test_a_compressed_log_is_read_as_far_as_it_is_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = f"type=SECCOMP msg={TEXT}\n".encode()
    whole = gzip.compress(line * 3)
    (tmp_path / "audit.log.2.gz").write_bytes(whole)
    (tmp_path / "cut.gz").write_bytes(whole[:-12])

    code, lines, said = run(capsys, tmp_path / "audit.log.2.gz", tmp_path / "cut.gz")

    assert code == replay.OK
    assert len(lines) >= 3
    assert "audit.log.2.gz: 3 lines read, 0 broken" in said
    assert "cut.gz:" in said and "unreadable from here on" in said


def test_a_missing_file_does_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines, said = run(capsys, tmp_path / "missing", written(tmp_path, f"type=SECCOMP msg={TEXT}"))

    assert (code, len(lines)) == (replay.OK, 1)
    assert "No such file" in said


@pytest.mark.parametrize("args", [[], ["--hold-ms", "0", "file"], ["--seed", "x", "file"]])
def test_wrong_usage_exits_with_2(args: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        enricher.main(["replay", *args])
    assert error.value.code == 2


def test_a_kind_that_this_version_does_not_know_is_broken_and_the_rest_is_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header, *lines = RECORDING.read_text().splitlines()
    file = written(tmp_path, header, '{"at":0,"kind":"future","data":{}}', *lines)

    _, expected, _ = run(capsys, RECORDING)
    code, replayed, said = run(capsys, file)

    assert (code, replayed) == (replay.OK, expected)
    assert "file" not in said and "kind 'future'" in said


def test_what_the_kernel_lost_is_a_gap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header = RECORDING.read_text().splitlines()[0]
    lost = '{"at":1,"kind":"lost","data":{"lost":{"ring-full":7}}}'
    unparsable = '{"at":2,"kind":"audit","data":{"text":"audit(nonsense"}}'

    _, (gap,), _ = run(capsys, written(tmp_path, header, lost, unparsable))

    assert (gap["kind"], gap["lost"]) == ("gap", {"ring-full": 7, "unparsable": 1})


def test_standard_input_is_a_file_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"type=SECCOMP msg={TEXT}\n".encode())))

    code, lines, _ = run(capsys, "-")

    assert (code, len(lines)) == (replay.OK, 1)
