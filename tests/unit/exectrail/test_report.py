"""`exectrail report`: what stands on the page, that nothing in it can act, and what becomes of the file."""

import base64
import hashlib
import json
import os
import stat
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from exectrail import cli
from exectrail.cli import report as report_module
from exectrail.contracts.record import Exit, Node, Record, Request, Resource, UserInfo, encode
from exectrail.reading.finding import Found
from exectrail.reading.shell import join, visible
from exectrail.reading.summary import from_records
from exectrail.report.page import Page, render
from exectrail.report.rows import Row, kind_of, section

from .fake_cluster import FakeCluster
from .hostile import HOSTILE
from .parsed_page import ParsedPage
from .test_show import TAGGED, UNTAGGED, late_trail

NOW = datetime(2026, 11, 24, tzinfo=UTC)
Run = Callable[..., tuple[int, str, str]]


def record(seq: int = 0, **fields: object) -> Record:
    told: dict[str, object] = {"version": "spo/v1_alpha", "audit_id": "a", "node": Node("n"), "prev": "", "seq": seq}
    told |= {"resource": Resource("shop", "web-0", "app"), "timestamp": f"2026-11-23T14:58:03.{seq:03}Z"}
    told |= {"kind": "exec", "request_uid": "uid-1", "origin": "session"}
    return Record(**told | fields)  # type: ignore[arg-type] # by keyword


def found(*records: Record, gaps: list[Record] | None = None, ambiguous: tuple[Record, ...] = ()) -> Found:
    lines = [encode(each).rstrip() for each in records]
    maybe = [encode(each).rstrip() for each in ambiguous]
    return Found(from_records("uid-1", records), lines, maybe, gaps=gaps or [])


def rows(*records: Record) -> list[Row]:
    return list(section(found(*records), []).rows)


def page(it: Found, doubts: tuple[str, ...] = ()) -> ParsedPage:
    return ParsedPage("".join(render(Page("title", [section(it, doubts)]), NOW)))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*argv: object) -> tuple[int, str, str]:
        code = cli.run(["report", *map(str, argv)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


# ---- what stands on it ----


def test_the_page_says_who_did_what_when_where_and_how_it_ended(alice_file: Path, alice_uid: str, run: Run) -> None:
    code, out, err = run(alice_uid, alice_file, "--html", "-")

    assert (code, err) == (0, "")
    shown = ParsedPage(out)
    assert shown.within("h1") == ["alice exec shop/web-0/app"]
    facts = dict(zip(shown.within("dt"), shown.within(r"dd(\..*)?"), strict=True))
    assert facts | {"user": "alice", "groups": "developers, system:authenticated"} == facts
    assert facts | {"started": "2026-11-23 14:58:03.121 UTC", "duration": "126 ms"} == facts
    assert facts | {"outcome": "completed, exit 3", "processes": "6", "session": alice_uid} == facts
    assert shown.within("code") == [
        "sh -c 'id; ls / | head -2; (sleep 0.1; true) & wait; exit 3'",
        "id",
        "ls /",
        "head -2",
        "sh (fork)",
        "sleep 0.1",
    ]
    assert "lost on its node: 3 ring (overrun)" in shown.shown


def test_every_result_stands_in_words_and_in_a_colour(alice_trail: list[Record], alice_uid: str) -> None:
    mine = [each for each in alice_trail if each.request_uid == alice_uid]

    assert [(row.pid, row.result, row.kind) for row in rows(*mine)] == [
        ("4711", "exit 3", "failed"),
        ("4712", "exit 0", "ok"),
        ("4713", "killed by SIGPIPE", "killed"),
        ("4714", "exit 0", "ok"),
        ("4715", "exit 0", "ok"),
        ("4716", "exit 0", "ok"),
    ]


@pytest.mark.parametrize(
    ("how", "kind"),
    [(None, "unknown"), (Exit(), "unknown"), (Exit(0), "ok"), (Exit(1), "failed"), (Exit(signal="SIGKILL"), "killed")],
    ids=str,
)
def test_a_result_has_its_style(how: Exit | None, kind: str) -> None:
    assert kind_of(how) == kind


def test_each_program_that_a_process_ran_has_a_line_and_failed_ones_their_error() -> None:
    (row,) = rows(
        record(0, argv=["sh", "-c", "exec true"], process_key="k"),
        record(1, argv=["nosuch"], errno="ENOENT", process_key="k"),
        record(2, argv=["true"], truncated=["argv"], process_key="k"),
    )

    assert [(line.text, line.failed, line.note) for line in row.lines] == [
        ("sh -c 'exec true'", "", ""),
        ("nosuch", "ENOENT", ""),
        ("true", "", "cut: more arguments than are kept"),
    ]


def test_a_process_that_only_failed_to_run_a_program_is_a_fork() -> None:
    sh = record(0, argv=["sh"], process_key="k")
    fork = record(1, kind="clone", process_key="c", parent_key="k")
    _, row = rows(sh, fork, record(2, argv=["nosuch"], errno="ENOENT", process_key="c", parent_key="k"))

    assert [(line.text, line.failed) for line in row.lines] == [("sh (fork)", ""), ("nosuch", "ENOENT")]


@pytest.mark.parametrize(
    ("fields", "mark"),
    [
        ({"origin": "untracked"}, ("origin", "untracked", "alarm")),
        ({"state": "forged"}, ("state", "forged", "alarm")),
        ({"state": "unconfirmed"}, ("state", "unconfirmed", "weak")),
        ({"weak": ["exit"]}, ("weak", "exit", "weak")),
        ({"truncated": ["cwd"]}, ("cut", "cwd", "weak")),
        ({"syscalls": ["execve", "ptrace"]}, ("called", "ptrace", "")),
        ({"candidates": ["uid-1", "uid-2"]}, ("of one of", "uid-1, uid-2", "weak")),
    ],
    ids=str,
)
def test_what_is_special_about_a_process_is_marked(fields: dict[str, object], mark: tuple[str, str, str]) -> None:
    (row,) = rows(record(0, argv=["id"], process_key="k", **fields))

    assert [(each.name, each.value, each.kind) for each in row.marks] == [mark]


def test_a_process_without_an_end_says_so() -> None:
    (row,) = rows(record(argv=["id"], process_key="k"))

    assert (row.result, row.kind) == ("no exit recorded", "unknown")


def test_doubts_gaps_and_weak_fields_are_said_in_words() -> None:
    gap = record(5, kind="gap", lost={"ring": 3}, reason="overrun", request_uid=None, origin=None)
    it = found(record(0, kind="session", phase="start", weak=["argv"]), record(6, argv=["id"]), gaps=[gap])
    shown = page(it, ("the session's beginning is not in what was read",))

    assert "This is not provably all of it." in shown.shown
    assert "the session's beginning is not in what was read" in shown.within("li")
    assert "2026-11-23 14:58:03.005 UTC: lost on its node: 3 ring (overrun)" in shown.within("li")
    assert "argv" in shown.within(r"dd\.weak")


def test_a_session_without_processes_says_so() -> None:
    start = record(kind="session", phase="start")
    maybe = record(1, argv=["ls"], process_key="m", request_uid=None, candidates=["uid-1", "uid-2"])

    assert "No process was recorded." in page(found(start)).shown
    assert "No process was recorded." not in page(found(start, ambiguous=(maybe,))).shown


def test_what_an_authenticator_added_to_a_user_cannot_pass_for_a_fact_of_the_session() -> None:
    start = record(kind="session", phase="start", user_info=UserInfo(extra={"outcome": ["completed, exit 0"]}))
    shown = page(found(start))
    facts = list(zip(shown.within("dt"), shown.within(r"dd(\..*)?"), strict=True))

    assert ("extra outcome", "completed, exit 0") in facts
    assert [value for name, value in facts if name == "outcome"] == ["no end recorded"]


def test_what_another_request_may_have_started_stands_apart() -> None:
    maybe = record(1, argv=["ls"], process_key="m", request_uid=None, candidates=["uid-1", "uid-2"])
    shown = page(found(record(0, argv=["id"], process_key="k"), ambiguous=(maybe,)))

    assert shown.within("h3") == ["Processes", "Started by this request or by another"]
    assert shown.within("code") == ["id", "ls"]


def test_the_records_behind_every_line_are_there_as_they_are_in_the_trail(
    alice_trail: list[Record], alice_uid: str, alice_file: Path, run: Run
) -> None:
    shown = ParsedPage(run(alice_uid, alice_file, "--html", "-")[1])
    there = [json.loads(line) for text in shown.within("pre") for line in text.splitlines()]

    wanted = [each for each in alice_trail if each.request_uid == alice_uid or each.kind == "gap"]
    assert sorted(there, key=lambda each: each["seq"]) == [json.loads(encode(each)) for each in wanted]


def test_records_without_a_process_key_have_a_row_and_their_record_each() -> None:
    made = rows(record(0, argv=["id"], pid=5), record(1, argv=["id"], pid=5))

    assert [len(row.raw) for row in made] == [1, 1]


@given(st.lists(st.integers(0, 20), min_size=1, max_size=20))
def test_each_row_knows_how_many_are_below_it(parents: list[int]) -> None:
    tree = [
        record(at, argv=["id"], process_key=str(at), parent_key=None if parent >= at else str(parent))
        for at, parent in enumerate(parents)
    ]
    made = rows(*tree)

    assert len(made) == len(parents)
    for at, row in enumerate(made):
        deeper = 0
        while at + deeper + 1 < len(made) and made[at + deeper + 1].depth > row.depth:
            deeper += 1
        assert row.below == deeper


@given(st.lists(st.tuples(st.integers(0, 999), st.sampled_from(["exec", "clone", "exit"])), min_size=1, max_size=12))
def test_a_bar_is_always_within_the_time_and_wide_enough_to_be_seen(times: list[tuple[int, str]]) -> None:
    made = rows(*(record(ms, kind=kind, process_key=str(at % 4)) for at, (ms, kind) in enumerate(times)))

    assert all(0 <= row.left <= 100 and 0 < row.width <= 100.01 - row.left for row in made)


def test_a_chain_of_very_many_forks_is_indented_to_a_bound_and_says_its_level() -> None:
    chain = [record(at, kind="clone", process_key=str(at), parent_key=str(at - 1)) for at in range(500)]
    made = rows(*chain)

    assert (made[-1].depth, made[-1].indent) == (499, 24)
    assert ("level", "499") in [(mark.name, mark.value) for mark in made[-1].marks]


# ---- that nothing in it can act ----


@pytest.mark.parametrize("argument", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_shown_and_adds_no_tag(argument: str) -> None:
    def made(text: str) -> ParsedPage:
        told = Request("exec", "pods/exec", [text])
        start = record(0, kind="session", phase="start", user=text, request=told, image=text, reason=text)
        end = record(3, kind="session", phase="end", weak=[text], lost={text: 1})
        run = record(1, argv=[text, "x"], process_key="k", weak=[text], syscalls=[text], errno=text)
        gap = record(2, kind="gap", reason=text, lost={text: 2})
        it = found(start, run, end, gaps=[gap], ambiguous=(replace(run, process_key=text, errno=None),))
        return ParsedPage("".join(render(Page(visible(text), [section(it, (text,))], chosen=visible(text)), NOW)))

    harmless, hostile = made("harmless"), made(argument)

    assert hostile.tags == harmless.tags
    assert [each[:2] for each in hostile.attributes] == [each[:2] for each in harmless.attributes]
    assert hostile.within("code") == ["?", *[join([argument, "x"])] * 2]  # the first one failed
    assert (hostile.content("style"), hostile.content("script")) == (
        harmless.content("style"),
        harmless.content("script"),
    )
    assert visible(argument) in hostile.shown
    assert hostile.shown.replace("\n", "").isprintable()


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=5))
def test_any_arguments_are_read_back_from_the_page(argv: list[str]) -> None:
    shown = page(found(record(argv=argv, process_key="k")))

    assert shown.within("code") == [join(argv).strip()]
    (line,) = shown.within("pre")
    assert json.loads(line)["argv"] == argv
    assert shown.shown.replace("\n", "").isprintable()


def test_the_policy_allows_just_the_style_and_the_script_that_are_in_the_page(alice_file: Path, run: Run) -> None:
    shown = ParsedPage(run("0b5e7c", alice_file, "--html", "-")[1])
    (policy,) = [
        value for tag, name, value in shown.attributes if (tag, name) == ("meta", "content") and "src" in value
    ]
    hashes = {
        f"{tag}-src": f"'sha256-{base64.b64encode(hashlib.sha256(shown.content(tag).encode()).digest()).decode()}'"
        for tag in ("style", "script")
    }

    assert dict(each.strip().split(" ", 1) for each in policy.split(";")) == {
        "default-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        **hashes,
    }


def test_the_page_refers_to_nothing_outside_of_itself(alice_file: Path, run: Run) -> None:
    out = run("--user", "*", alice_file, "--html", "-")[1]
    shown = ParsedPage(out)
    leads = {"href", "src", "srcset", "action", "data", "poster", "formaction", "ping", "style", "background"}

    assert {value[:2] for _, name, value in shown.attributes if name in leads} == {"#s"}
    assert not {"link", "iframe", "object", "embed", "img", "base", "form"} & set(shown.tags)
    assert not any(name.startswith("on") for _, name, _ in shown.attributes)
    own = shown.content("style") + shown.content("script")
    assert not any(word in own for word in ("://", "url(", "@import", "fetch(", "XMLHttp", "innerHTML", "eval("))


# ---- several sessions ----


def test_options_choose_several_sessions_with_contents_that_lead_to_each(alice_file: Path, run: Run) -> None:
    code, out, err = run(alice_file, "--since", "2026-11-23", "--utc", "--html", "-")

    assert (code, err) == (0, "")
    shown = ParsedPage(out)
    assert shown.within("h1") == ["2 sessions"]
    assert shown.within("a") == shown.within("h2") == ["alice exec shop/web-0/app", "bob portforward shop/db-0"]
    assert [value for _, name, value in shown.attributes if name in {"href", "id"}] == ["#s1", "#s2", "s1", "s2"]
    assert "Chosen: since 2026-11-23 00:00:00.000 UTC." in shown.shown


@pytest.mark.parametrize(
    ("options", "users"),
    [
        (["--user", "bob"], ["bob"]),
        (["--pod", "web-*"], ["alice"]),
        (["--verb", "exec", "--outcome", "failed"], ["alice"]),
        (["--limit", "1"], ["bob"]),
        (["--limit", "5"], ["bob", "alice"]),
        (["--namespace", "shop", "--until", "2030-01-01"], ["alice", "bob"]),
    ],
    ids=" ".join,
)
def test_each_option_chooses_as_in_sessions(options: list[str], users: list[str], alice_file: Path, run: Run) -> None:
    shown = ParsedPage(run(alice_file, *options, "--html", "-")[1])

    assert [each.split()[0] for each in shown.within("a")] == users


def test_several_sessions_have_the_rows_that_one_alone_has(alice_file: Path, alice_uid: str, run: Run) -> None:
    alone = ParsedPage(run(alice_uid, alice_file, "--html", "-")[1])
    among = ParsedPage(run(alice_file, alice_file, "--user", "alice", "--html", "-")[1])

    assert among.within("code|pre|dd.*|li|summary") == alone.within("code|pre|dd.*|li|summary")


def test_a_session_that_is_not_whole_says_so_and_exits_with_3(alice_file: Path, tmp_path: Path, run: Run) -> None:
    lines = alice_file.read_bytes().splitlines(keepends=True)
    alice_file.write_bytes(b"".join(lines[:5] + lines[7:]))

    code, out, err = run(alice_file, "--user", "alice", "--html", "-")

    assert code == 3
    assert "2 records are missing" in err and "1 of 1 session may not be whole: the report says why" in err
    assert out.count("2 records are missing in what was read (seq 5-6)") == 2  # of the reading, and of the session


def test_what_could_not_be_read_is_said_and_the_rest_is_reported(alice_file: Path, tmp_path: Path, run: Run) -> None:
    missing = tmp_path / "missing.jsonl"

    code, out, err = run(alice_file, missing, "--user", "alice", "--html", "-")

    assert code == 3
    assert ParsedPage(out).within("a") == ["alice exec shop/web-0/app"]
    assert err.count("missing.jsonl: No such file") == out.count("missing.jsonl: No such file") == 1


@pytest.mark.parametrize(
    ("options", "named"), [("--user alice", "--user"), ("--since 1h --limit 2", "--since and --limit")]
)
@pytest.mark.parametrize("last", [False, True], ids=["before the file", "after the file"])
def test_a_uid_beside_options_that_choose_is_a_mistake_and_no_other_sessions_are_written(
    options: str, named: str, last: bool, alice_uid: str, alice_file: Path, tmp_path: Path, run: Run
) -> None:
    words = [alice_file, alice_uid[:6]] if last else [alice_uid[:6], alice_file]

    code, _, err = run(*options.split(), *words, "--html", tmp_path / "r.html")

    assert code == 2
    assert f"{alice_uid[:6]}: no such file. With {named} each word is a FILE; leave out {named} to choose" in err
    assert not (tmp_path / "r.html").exists()


def test_a_trail_that_can_be_read_once_only_is_enough(alice_file: Path, tmp_path: Path, run: Run) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    if os.fork() == 0:  # a child that only writes
        fifo.write_bytes(alice_file.read_bytes())
        os._exit(0)

    code, out, _ = run(fifo, "--user", "alice", "--html", "-")
    os.wait()

    assert code == 0
    assert "sleep 0.1" in ParsedPage(out).within("code")


@pytest.mark.parametrize("limit", ["1", "5"])
def test_what_forged_a_uid_is_in_the_section_of_its_session(limit: str, tmp_path: Path, run: Run) -> None:
    trail = tmp_path / "trail.jsonl"
    asked = {"kind": "session", "phase": "start", "request": Request("exec", "pods/exec", ["id"])}
    claim = {"kind": "session", "phase": "start", "state": "forged", "reason": "uid-used", "process_key": "other"}
    records = [
        record(0, state="confirmed", user="alice", process_key="own", **asked),
        record(1, kind="session", phase="end", state="confirmed", user="alice", process_key="own"),
        record(2, **claim),
    ]
    trail.write_bytes(b"".join(map(encode, records)))

    shown = ParsedPage(run(trail, "--limit", limit, "--html", "-")[1])

    facts = shown.within("dd.*")
    assert [fact for fact in facts if fact in ("alice", "uid-1", "uid-used")] == ["uid-1", "alice"]


def test_why_a_uid_is_forged_stands_over_the_processes_and_beside_the_forger(run: Run) -> None:
    golden = Path(__file__).parents[1] / "enricher" / "golden" / "uid-that-is-used-again.jsonl"

    shown = ParsedPage(run("5682ae", golden, "--html", "-")[1])

    facts = dict(zip(shown.within("dt"), shown.within(r"dd(\..*)?"), strict=True))
    assert facts["processes"] == "1"
    assert facts["forged"].startswith("1 process carries this UID as well: uid-contested ")
    assert "forged: uid-contested" in shown.shown


@pytest.mark.parametrize("how", [["5682ae"], ["--user", "alice"]], ids=["one", "several"])
def test_a_request_that_shows_late_holds_for_all_that_its_process_did(how: list[str], run: Run) -> None:
    golden = Path(__file__).parents[1] / "enricher" / "golden" / "request-that-shows-late.jsonl"

    shown = ParsedPage(run(*how, golden, "--html", "-")[1])

    assert shown.within("code")[-1] == "id"
    assert "state: unconfirmed" not in shown.shown


@pytest.mark.parametrize("before", [UNTAGGED, TAGGED], ids=["without a tag", "with the tag of another"])
@pytest.mark.parametrize("how", [["uid-1"], ["--user", "alice"]], ids=["one", "several"])
def test_what_ran_before_the_request_showed_is_reported_with_it(
    how: list[str], before: dict[str, object], tmp_path: Path, run: Run
) -> None:
    trail = tmp_path / "trail.jsonl"
    trail.write_bytes(late_trail(before))

    code, out, err = run(*how, trail, "--html", "-")

    assert (code, err) == (0, "")
    assert ParsedPage(out).within("code")[-2:] == ["sh", "ls"]


def test_more_sessions_than_a_page_holds_need_a_limit(
    alice_file: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_module, "MOST", 1)

    assert run(alice_file, "--user", "*", "--html", "-") == (
        2,
        "",
        "exectrail: more than 1 sessions are chosen: choose by more options, or only the latest by --limit\n",
    )
    assert run(alice_file, "--limit", "2", "--html", "-")[0] == 0


def test_memory_holds_one_session_and_not_all_of_them(tmp_path: Path, run: Run) -> None:
    padding = "x" * 2000
    with (tmp_path / "trail.jsonl").open("wb") as trail:
        for session in range(100):
            own = {"request_uid": f"uid-{session:04}", "state": "confirmed"}
            for at in range(100):
                seq = session * 100 + at
                told: dict[str, object] = {"kind": "exec", "argv": [padding], "process_key": str(seq)}
                if at in {0, 99}:
                    told = {"kind": "session", "phase": "end" if at else "start"}
                trail.write(encode(replace(record(0, **(told | own)), seq=seq)))
    size = (tmp_path / "trail.jsonl").stat().st_size

    run(tmp_path / "trail.jsonl", "--limit", "1", "--html", tmp_path / "one.html")  # imports
    tracemalloc.start()
    code, _, _ = run(tmp_path / "trail.jsonl", "--since", "2026-11-01", "--html", tmp_path / "report.html")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert code == 0
    assert peak < size / 3


# ---- from a cluster ----


def listed(uid: str, **status: object) -> dict[str, object]:
    return {
        "metadata": {"name": uid, "namespace": "audit"},
        "spec": {
            "user": {"username": "alice"},
            "verb": "exec",
            "resource": "pods/exec",
            "target": {"namespace": "shop", "pod": "web-0", "container": "app"},
            "time": "2026-11-23T14:58:03.120456Z",
        },
        "status": status,
    }


def test_of_a_cluster_each_node_that_had_one_of_the_sessions_is_read_once(
    cluster: FakeCluster, alice_file: Path, alice_uid: str, run: Run
) -> None:
    mark = b'{"kind":"end-of-trail","chains":[{"node":"node-1","ranges":[[0,21]]}],"damaged":0}\n'
    items = [listed(alice_uid, node="node-1"), listed("uid-2", outcome="never-started"), listed("uid-3", node="node-1")]
    cluster.answers("get auditsessions", out={"items": items})
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1", "node-2")
    cluster.answers("exec", out=alice_file.read_bytes() + mark)

    code, out, err = run("--user", "alice", "--html", "-")

    assert (code, err) == (0, "")
    (call,) = [call for call in cluster.calls if call[0] == "exec"]
    assert call[-1] == "--only=sessions"
    shown = ParsedPage(out)
    assert len(shown.within("h2")) == 3
    assert "sleep 0.1" in shown.within("code")
    assert shown.within(r"dd\.unknown")[0] == "never-started"


def test_of_a_cluster_nothing_older_than_since_is_read(
    cluster: FakeCluster, alice_file: Path, alice_uid: str, run: Run
) -> None:
    mark = b'{"kind":"end-of-trail","chains":[{"node":"node-1","ranges":[[0,21]]}],"damaged":0}\n'
    cluster.answers("get auditsessions", out={"items": [listed(alice_uid, node="node-1")]})
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1")
    cluster.answers("exec --only=sessions --since=2026-11-23T14:00:00+00:00", out=alice_file.read_bytes() + mark)

    assert run("--since", "2026-11-23T14:00Z", "--html", "-")[0] == 0


def test_a_node_that_cannot_be_read_is_said_for_its_sessions(cluster: FakeCluster, alice_uid: str, run: Run) -> None:
    cluster.answers("get auditsessions", out={"items": [listed(alice_uid, node="node-1")]})
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1")
    cluster.answers("exec", code=1, err="error: connection refused\n")

    code, out, err = run("--user", "alice", "--html", "-")

    assert code == 2
    assert "Its trail could not be read." in ParsedPage(out).shown
    assert "connection refused" in err


# ---- the file ----


def test_the_file_is_whole_and_only_its_owner_may_read_it(
    alice_file: Path, alice_uid: str, tmp_path: Path, run: Run
) -> None:
    path = tmp_path / "report.html"

    assert run(alice_uid, alice_file, "--html", path) == (0, "", "")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("<!doctype html>") and path.read_text().endswith("</html>\n")


def test_a_file_that_is_there_is_replaced_only_with_force(
    alice_file: Path, alice_uid: str, tmp_path: Path, run: Run
) -> None:
    path = tmp_path / "report.html"
    path.write_text("yesterday's")

    code, _, err = run(alice_uid, alice_file, "--html", path)

    assert (code, path.read_text()) == (2, "yesterday's")
    assert "is there already: name another file, or give --force to replace it" in err
    assert run(alice_uid, alice_file, "--html", path, "--force")[0] == 0
    assert "sleep 0.1" in path.read_text()


def test_a_file_that_came_while_trails_were_read_is_not_replaced(
    alice_file: Path, alice_uid: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "folder/report.html"
    path.parent.mkdir()

    def meanwhile(*arguments: object) -> object:
        path.write_text("another's")
        return render(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(report_module, "render", meanwhile)

    assert run(alice_uid, alice_file, "--html", path)[0] == 2
    assert [(each, each.read_text()) for each in path.parent.iterdir()] == [(path, "another's")]


@pytest.mark.parametrize("name", ["", "no/such/folder/report.html", "/dev/null"], ids=["folder", "in none", "device"])
def test_what_cannot_be_written_exits_with_2(
    name: str, alice_file: Path, alice_uid: str, tmp_path: Path, run: Run
) -> None:
    code, _, err = run(alice_uid, alice_file, "--html", tmp_path / name, "--force")

    assert code == 2
    assert str(tmp_path / name) in err


def test_records_that_cannot_be_kept_meanwhile_exit_with_2(
    alice_file: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))

    assert run(alice_file, "--user", "alice", "--html", tmp_path / "report.html") == (
        2,
        "",
        "exectrail: no room for records in a temporary file (TMPDIR says where): No such file or directory\n",
    )


def test_an_interrupted_report_leaves_nothing_behind(
    alice_file: Path, alice_uid: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> object:
        yield "<!doctype html>"
        raise KeyboardInterrupt

    monkeypatch.setattr(report_module, "render", interrupted)
    folder = tmp_path / "folder"
    folder.mkdir()

    assert run(alice_uid, alice_file, "--html", folder / "report.html")[0] == 130
    assert list(folder.iterdir()) == []


def test_a_large_report_is_said_to_be_large(
    alice_file: Path, alice_uid: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_module, "_LARGE", 1000)

    code, _, err = run(alice_uid, alice_file, "--html", tmp_path / "report.html")

    assert code == 0
    assert "browsers take long to open it" in err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "which session? Give its UID"),
        (["no-such-session", "trail.jsonl"], 1, "no session no-such-session"),
        (["trail.jsonl", "--user", "nobody"], 1, "no sessions: no report is written"),
    ],
    ids=["none", "unknown", "nothing chosen"],
)
def test_without_a_session_no_file_is_written(
    words: list[str],
    code: int,
    said: str,
    alice_file: Path,
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(alice_file.parent)
    path = tmp_path / "report.html"

    done, _, err = run(*words, "--html", path)

    assert (done, path.exists()) == (code, False)
    assert said in err
