"""`exectrail show`, from a trail to what the reader sees."""

import json
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exectrail import cli
from exectrail.cli import session_tree
from exectrail.cli import show as show_module
from exectrail.cli.text import Clock
from exectrail.contracts.record import Exit, Node, Record, Request, Resource, encode
from exectrail.reading import finding
from exectrail.reading.session_list import in_order
from exectrail.reading.summary import from_records


def show(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert cli.run(["show", *map(str, argv)]) == 0
    return capsys.readouterr().out


def record(**fields: object) -> Record:
    told: dict[str, object] = {"version": "spo/v1_alpha", "audit_id": "a", "timestamp": "2026-11-23T14:58:03.120Z"}
    told |= {"node": Node("n"), "resource": Resource("shop", "web-0", "app"), "seq": 0, "prev": ""}
    return Record(**told | {"kind": "exec", "request_uid": "uid-1"} | fields)  # type: ignore[arg-type] # by keyword


@pytest.fixture
def tree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def render(*records: Record) -> str:
        path = tmp_path / "trail.jsonl"
        path.write_bytes(b"".join(map(encode, records)))
        return show(capsys, "uid-1", path).partition("\n\n")[2]

    return render


def test_the_sample_trail_is_what_the_golden_file_holds(alice_file: Path, golden: Callable[[str, str], None]) -> None:
    golden("alice.jsonl", alice_file.read_text())


def test_alices_session_reads_as_the_golden_text(
    alice_file: Path, alice_uid: str, golden: Callable[[str, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    golden("alice-show.txt", show(capsys, alice_uid, alice_file))


def test_alices_session_is_one_json_document_for_scripts(
    alice_file: Path, alice_uid: str, golden: Callable[[str, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    output = show(capsys, alice_uid, alice_file, "-o", "json")
    golden("alice-show.json", output)

    document = json.loads(output)
    assert document["session"]["exit"] == {"code": 3}
    assert [process["pid"] for process in document["processes"]] == [4711, 4712, 4713, 4714, 4715, 4716]
    assert document["processes"][0]["argv"][:2] == ["sh", "-c"]


def test_lines_in_any_order_and_read_twice_make_the_same_picture(
    alice_file: Path, alice_uid: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shuffled = alice_file.with_name("shuffled.jsonl")
    shuffled.write_bytes(b"".join(sorted(alice_file.read_bytes().splitlines(keepends=True), reverse=True)))

    assert show(capsys, alice_uid, shuffled, alice_file) == show(capsys, alice_uid, alice_file)


def test_the_beginning_of_a_uid_is_enough_if_it_means_one_session(
    alice_file: Path, alice_uid: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert alice_uid in show(capsys, alice_uid[:6], alice_file)


def of_two(**fields: object) -> Record:
    """A record of a process that two requests may have started."""
    told: dict[str, object] = {"request_uid": None, "origin": "session", "process_key": "b-7-1", "entry_key": "b-7-1"}
    return record(**told | {"candidates": ["uid-one", "uid-two"]} | fields)


@pytest.mark.parametrize(("uid", "other"), [("uid-one", "uid-two"), ("uid-two", "uid-one")])
def test_what_two_requests_may_have_started_is_shown_apart_for_each(
    uid: str, other: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trail.jsonl"
    child = of_two(process_key="b-8-2", parent_key="b-7-1", argv=["id"], seq=1)
    path.write_bytes(b"".join(map(encode, (of_two(argv=["sh"]), child, of_two(kind="exit", exit=Exit(code=3), seq=2)))))

    shown = show(capsys, uid, path)
    document = json.loads(show(capsys, uid, path, "-o", "json"))

    assert "started by this request or by another" in shown
    assert f"sh  exit 3  or of {other}" in shown
    assert "no process was recorded" not in shown
    assert document["processes"] == []
    assert [each["argv"] for each in document["ambiguous"]] == [["sh"], ["id"]]
    assert document["ambiguous"][0]["candidates"] == ["uid-one", "uid-two"]


def test_what_the_node_ran_while_a_request_was_open_is_not_that_requests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trail.jsonl"
    path.write_bytes(b"".join(map(encode, (record(argv=["id"]), of_two(origin="node", candidates=["uid-1"], seq=1)))))

    assert "another" not in show(capsys, "uid-1", path)


def test_an_unknown_uid_exits_with_1_and_names_the_nearest(
    alice_file: Path, alice_uid: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["show", "0b5e7c1f", str(alice_file)]) == 1
    assert f"no session 0b5e7c1f; the nearest are {alice_uid}" in capsys.readouterr().err


def test_a_prefix_of_two_sessions_exits_with_1_and_names_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trail.jsonl"
    path.write_bytes(encode(record(request_uid="abcdef-1")) + encode(record(request_uid="abcdef-2", seq=1)))

    assert cli.run(["show", "abcdef", str(path)]) == 1
    assert "2 sessions begin with abcdef: abcdef-1, abcdef-2" in capsys.readouterr().err


def test_five_characters_are_too_few_for_a_prefix(
    alice_file: Path, alice_uid: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["show", alice_uid[:5], str(alice_file)]) == 1


def test_a_process_is_shown_by_its_last_program_with_the_chain_before_it(tree: Callable[..., str]) -> None:
    text = tree(
        record(process_key="k", argv=["/bin/bash", "-l"], seq=1),
        record(process_key="k", argv=["python3", "-m", "http.server"], seq=2),
    )

    assert "bash → python3 -m http.server  no exit recorded" in text


def test_a_tag_of_another_session_is_not_hidden(tree: Callable[..., str]) -> None:
    text = tree(
        record(process_key="k", entry_key="k", argv=["env", "SPO_EXEC_REQUEST_UID=uid-2", "sh"], seq=1),
        record(process_key="k", entry_key="k", argv=["sh"], seq=2),
    )

    assert "env → sh" in text


def test_an_applet_that_env_ran_without_an_exec_is_shown_without_the_tag(tree: Callable[..., str]) -> None:
    text = tree(record(process_key="k", entry_key="k", argv=["env", "SPO_EXEC_REQUEST_UID=uid-1", "id", "-u"]))

    assert "── id -u  no exit recorded  by env, no exec of its own" in text


def test_a_fork_of_a_fork_goes_by_the_program_that_forked_first(tree: Callable[..., str]) -> None:
    text = tree(
        record(process_key="a", argv=["/bin/sh"], seq=1),
        record(kind="clone", process_key="b", parent_key="a", seq=2),
        record(kind="clone", process_key="c", parent_key="b", seq=3),
        record(process_key="a", argv=["vi"], seq=4),
    )

    assert text.count("sh (fork)") == 2


@pytest.mark.parametrize(
    ("fields", "mark"),
    [
        ({"state": "forged"}, "forged"),
        ({"state": "unconfirmed"}, "unconfirmed"),
        ({"origin": "untracked"}, "untracked"),
        ({"weak": ["argv", "exit"]}, "weak: argv, exit"),
        ({"kind": "exit", "exit": Exit(signal="SIGKILL")}, "killed by SIGKILL"),
        ({"errno": "ENOENT"}, "failed nosuch: ENOENT"),
        ({"kind": "syscall", "syscalls": ["ptrace"]}, "called ptrace"),
        ({"truncated": ["argv"]}, "nosuch …"),
        ({"argv": None, "cmd_line": "ls -l"}, "ls -l  "),
        ({"argv": None, "program": "/bin/ls"}, "/bin/ls  "),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_special_about_a_process_is_marked(
    fields: dict[str, object], mark: str, tree: Callable[..., str]
) -> None:
    assert mark in tree(record(**{"process_key": "k", "argv": ["nosuch"]} | fields))


def test_processes_that_name_each_other_as_parent_are_still_shown(tree: Callable[..., str]) -> None:
    text = tree(
        record(process_key="a", parent_key="b", argv=["first"], seq=1),
        record(process_key="b", parent_key="a", argv=["second"], seq=2),
        record(process_key="c", parent_key="c", argv=["third"], seq=3),
    )

    assert all(text.count(name) == 1 for name in ("first", "second", "third"))


def test_a_chain_of_a_thousand_forks_is_shown(tree: Callable[..., str]) -> None:
    chain = [record(kind="clone", process_key=f"k{n}", parent_key=f"k{n - 1}", pid=n, seq=n) for n in range(1, 1001)]

    assert "pid 1000" in tree(*chain)


def test_no_control_byte_of_the_container_reaches_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b]0;owned\x07\x9b31m\u202e\r\n"
    node, place = Node(evil), Resource(evil, evil, evil)
    told = {"user": evil, "image": evil, "reason": evil, "weak": [evil], "node": node, "resource": place}
    request = Request(evil, evil, [evil])
    path = tmp_path / "trail.jsonl"
    path.write_bytes(
        encode(record(kind="session", phase="start", request=request, lost={evil: 1}, **told))
        + encode(record(process_key="k", argv=["sh", evil], seq=1, **told))
        + encode(record(process_key="l", argv=None, cmd_line=evil, errno=evil, seq=2, **told))
        + encode(record(kind="exit", process_key="m", exit=Exit(signal=evil), seq=3, **told))
    )

    for argv in (["show", "uid-1", path], ["sessions", path], ["show", "uid-1", path, "-o", "json"]):
        assert cli.run([str(word) for word in argv]) == 0
        printed = capsys.readouterr().out.replace("\n", "").replace("\t", "")
        assert printed.isprintable()


def test_a_session_whose_end_is_missing_says_so(alice_trail: list[Record], alice_uid: str) -> None:
    mine = [line for line in alice_trail if line.request_uid == alice_uid and line.phase != "end"]

    assert "no end recorded" in rendered(finding.Found(from_records(alice_uid, mine), mine))


def test_a_forged_record_does_not_change_the_user(alice_trail: list[Record], alice_uid: str) -> None:
    mine = [line for line in alice_trail if line.request_uid == alice_uid]
    forged = record(request_uid=alice_uid, state="forged", user="mallory", node=Node("elsewhere"), seq=10**6)

    assert from_records(alice_uid, [*mine, forged]) == from_records(alice_uid, mine)


def rendered(found: finding.Found) -> str:
    with redirect_stdout(StringIO()) as output:
        session_tree.show(found, Clock(utc=True))
    return output.getvalue()


_KEYS = st.sampled_from(["a", "b", "c", "d"])
_LINES = st.builds(
    record,
    kind=st.sampled_from(["exec", "clone", "exit", "syscall", "session", "gap", "digest"]),
    process_key=st.none() | _KEYS,
    parent_key=st.none() | _KEYS,
    entry_key=st.none() | _KEYS,
    argv=st.none() | st.lists(st.text()),
    cmd_line=st.none() | st.text(),
    user=st.none() | st.text(),
    errno=st.sampled_from([None, None, "ENOENT"]),
    exit=st.none() | st.builds(Exit, st.none() | st.integers(), st.none() | st.text()),
    duration_ms=st.none() | st.integers(-(2**62), 2**62),
    timestamp=st.text() | st.just("2026-11-23T14:58:03Z"),
    state=st.sampled_from([None, "confirmed", "unconfirmed", "forged"]),
    phase=st.sampled_from([None, "start", "end"]),
    request=st.none() | st.builds(Request, st.text(), st.text(), st.none() | st.lists(st.text())),
    resource=st.none() | st.builds(Resource, st.text(), st.text(), st.text()),
    lost=st.none() | st.dictionaries(st.text(), st.integers()),
    seq=st.integers(0, 5),
)


@given(st.lists(_LINES, max_size=12))
def test_any_mix_of_records_is_shown_and_no_process_twice(lines: list[Record]) -> None:
    found = finding.Found(from_records("uid-1", lines), lines)
    processes = show_module.document(found)["processes"]
    keys = [process["processKey"] for process in processes if process["processKey"]]

    assert sorted(keys) == sorted(
        {line.process_key for line in lines if line.process_key and line.kind in ("exec", "clone", "exit", "syscall")}
    )
    assert rendered(found)
    assert len(list(in_order(record for record in lines if record.kind == "session"))) <= 1
