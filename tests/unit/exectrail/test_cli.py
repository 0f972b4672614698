"""The command as a whole: its start, its arguments, its exit codes, and what it prints of sessions."""

import pkgutil
import re
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from exectrail import __version__, cli
from exectrail.cli import arguments, exit_codes
from exectrail.cli.text import Clock
from exectrail.contracts import record, session
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.record import Exit, Record, encode
from exectrail.reading import shell
from exectrail.reading.summary import from_audit_session
from exectrail.reading.words import span, target

from .fake_cluster import FakeCluster
from .terminals import on_terminal

REPO = Path(__file__).parents[3]
ENV_C = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}


def run(*arguments: str, code: str = "", stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    start = ["-c", code] if code else ["-m", "exectrail", *arguments]
    return subprocess.run([sys.executable, *start], input=stdin, capture_output=True, check=False, env=ENV_C)


def test_python_m_exectrail_works() -> None:
    assert run("--version").stdout.decode() == f"exectrail {__version__}\n"


def test_help_lists_the_exit_codes() -> None:
    assert b"exit codes:" in run("--help").stdout


def test_help_imports_nothing_that_is_slow() -> None:
    code = "import sys; from exectrail import cli; cli.parser('x').format_help(); print(*sys.modules)"

    assert not {"jinja2", "msgspec", "rich", "urllib3", "subprocess"} & set(run(code=code).stdout.decode().split())


def test_nothing_of_the_command_needs_an_http_client(alice_file: Path, alice_uid: str) -> None:
    code = (
        "import sys; sys.modules['urllib3'] = None; from exectrail import cli;"
        f"print([cli.run([*c, {str(alice_file)!r}]) for c in (['sessions'], ['show', {alice_uid!r}])])"
    )

    assert run(code=code).stdout.endswith(b"[0, 0]\n")


@pytest.mark.parametrize(
    ("path", "prog"),
    [
        ("/usr/bin/exectrail", "exectrail"),
        ("/x/kubectl-exectrail", "kubectl exectrail"),
        ("kubectl_exectrail", "kubectl exectrail"),
        ("/site-packages/exectrail/__main__.py", "exectrail"),
    ],
)
def test_the_command_calls_itself_what_the_user_typed(path: str, prog: str) -> None:
    assert cli.program(path) == prog


def test_an_installed_distribution_has_the_command_and_kubectls_plugin() -> None:
    """Kubectl runs a program `kubectl-NAME` on PATH as `kubectl NAME`."""
    scripts = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["scripts"]

    assert scripts.keys() == {"exectrail", "kubectl-exectrail"}
    assert {pkgutil.resolve_name(target) for target in scripts.values()} == {cli.main}


def test_the_plugin_explains_itself_as_kubectls(tmp_path: Path) -> None:
    plugin = tmp_path / "kubectl-exectrail"  # what an installer makes of the entry point
    plugin.write_text(f"#!{sys.executable}\nimport sys\nfrom exectrail.cli import main\nsys.exit(main())\n")
    plugin.chmod(0o755)

    shown = subprocess.run(
        [plugin, "sessions", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=ENV_C | {"PYTHONPATH": str(REPO)},
    )

    assert shown.stdout.startswith("usage: kubectl exectrail sessions ")


def test_a_reader_that_leaves_early_is_no_error(alice_file: Path) -> None:
    many = alice_file.read_bytes() * 5000
    code = "import sys; from exectrail.cli import main; main(['show', '0b5e7c', '-', '-o', 'json'])"
    alone = subprocess.run(
        ["sh", "-c", '"$0" -c "$1" | head -c 1', sys.executable, code],
        input=many,
        capture_output=True,
        check=False,
        env=ENV_C,
    )

    assert (alone.stdout, alone.stderr) == (b"{", b"")


@pytest.mark.parametrize(
    ("words", "first"),
    [(["show", "0b5e7c", "-", "-o", "json"], b"{"), (["report", "0b5e7c", "-", "--html", "-"], b"<")],
    ids=["show", "report"],
)
def test_a_reader_that_leaves_early_is_no_error_where_there_is_no_sigpipe(
    words: list[str], first: bytes, alice_file: Path
) -> None:
    code = f"import signal, sys; del signal.SIGPIPE; from exectrail.cli import main; sys.exit(main({words}))"
    command = ["bash", "-c", '"$0" -c "$1" | head -c 1; exit ${PIPESTATUS[0]}', sys.executable, code]
    many = alice_file.read_bytes().replace(b'"argv":["id"]', b'"argv":["' + b"x" * 300_000 + b'"]')
    done = subprocess.run(command, input=many, capture_output=True, check=False, env=ENV_C)

    assert (done.returncode, done.stdout, done.stderr) == (0, first, b"")


def in_shell(words: str, output: str) -> subprocess.CompletedProcess[str]:
    """The command with its output redirected."""
    line = f"{shlex.quote(sys.executable)} -m exectrail {words} {output}"
    return subprocess.run(["sh", "-c", line], capture_output=True, check=False, text=True, env=ENV_C)


@pytest.mark.parametrize(
    "words", ["sessions FILE", "show 0b5e7c FILE", "summary FILE -o json", "report 0b5e7c FILE --html -", "man"]
)
def test_an_output_that_takes_no_more_is_a_sentence_and_no_result(words: str, alice_file: Path) -> None:
    done = in_shell(words.replace("FILE", shlex.quote(str(alice_file))), "> /dev/full")

    assert (done.returncode, done.stderr) == (
        2,
        "exectrail: the output cannot be written: No space left on device\n",
    )


@pytest.mark.parametrize(("words", "code"), [("untracked FILE", 0), ("show eve FILE", 1), ("show 0b5e7c nofile", 2)])
@pytest.mark.parametrize("output", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_output_leaves_the_exit_code(words: str, code: int, output: str, alice_file: Path) -> None:
    assert in_shell(words.replace("FILE", shlex.quote(str(alice_file))), output).returncode == code


@pytest.mark.parametrize(
    "words",
    [
        ["sessions", ""],
        ["sessions", "x", "--user", ""],
        ["show", "0b5e7c", " "],
        ["untracked", "-n", ""],
        ["summary", "--context", ""],
        ["doctor", "--namespace", ""],
    ],
    ids=" ".join,
)
def test_an_unset_variable_of_the_shell_is_not_taken_for_anything(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.run(words)

    assert ended.value.code == 2
    assert "it is empty: is a variable of the shell unset?" in capsys.readouterr().err


def test_without_a_command_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([]) == 2

    printed = capsys.readouterr()
    assert printed.out == ""
    assert set(re.findall(r"^    (\w+)", printed.err, re.MULTILINE)) >= cli.SUBCOMMANDS.keys()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("sessions --sinec 1h x", "exectrail sessions: error: unrecognized arguments: --sinec (is --since meant?)"),
        ("show 0b5e7c --utcc=1 x", "exectrail show: error: unrecognized arguments: --utcc=1 (is --utc meant?)"),
        ("man x", "exectrail man: error: unrecognized arguments: x"),
        ("profile lint x --verbose", "exectrail profile: error: unrecognized arguments: --verbose"),
    ],
)
def test_a_mistyped_option_is_named_with_what_may_be_meant(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.run(words.split())

    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == said


@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
@pytest.mark.parametrize(
    ("words", "otherwise"),
    [(["show"], ""), (["report", "--html", "-"], ", or options that choose sessions, such as --user or --since")],
    ids=["show", "report"],
)
def test_a_file_where_the_uid_is_missing_is_not_looked_for_in_the_cluster(
    words: list[str], otherwise: str, folder: bool, alice_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = alice_file.parent if folder else alice_file

    assert cli.run([*words, str(given)]) == 2
    assert capsys.readouterr().err == f"exectrail: {given} is a file or folder: give a UID before it{otherwise}\n"


def test_of_missing_arguments_only_those_are_named_that_are_required(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.run(["show"])

    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith("error: the following arguments are required: UID\n")


def test_a_uid_is_one_also_where_a_file_has_its_name(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(cluster.folder)
    Path("0b5e7c").touch()
    cluster.answers("get", code=1, err="error: no cluster\n")

    assert cli.run(["show", "0b5e7c"]) == 2
    assert "no cluster" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["sessions", "untracked", "summary", "follow", "report --html -"])
def test_times_with_nothing_in_between_are_a_mistake(
    command: str, alice_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times = ["--since", "2026-11-24", "--until", "2026-11-23", "--utc"]

    assert cli.run([*command.split(), str(alice_file), *times]) == 2
    assert capsys.readouterr() == (
        "",
        "exectrail: nothing is in between: --until is 2026-11-23 00:00:00 UTC, and --since 2026-11-24 00:00:00 UTC\n",
    )


@pytest.mark.parametrize(
    ("offered", "contract"),
    [
        (arguments.KINDS, record.Kind),
        (arguments.ORIGINS, record.Origin),
        (arguments.VERBS, session.Verb),
        (tuple(each for each in arguments.OUTCOMES if each not in {"failed", "open"}), record.Outcome),
    ],
    ids=["kinds", "origins", "verbs", "outcomes"],
)
def test_the_choices_of_options_are_those_of_records(offered: tuple[str, ...], contract: object) -> None:
    assert set(offered) == set(get_args(contract))


def test_the_exit_codes_of_the_help_are_all_there_are() -> None:
    said = set(re.findall(r"^  (\d+) ", cli.parser("exectrail").format_help(), re.MULTILINE))

    assert said == {str(code) for code in vars(exit_codes).values() if isinstance(code, int)}


def test_a_long_reading_shows_how_far_it_is_on_a_terminal(alice_uid: str, alice_file: Path) -> None:
    with on_terminal("show", alice_uid, "-", stdout=False, stderr=True, stdin=True) as terminal:
        assert terminal.process.stdin and terminal.process.stdout
        terminal.process.stdin.write(alice_file.read_bytes())
        terminal.process.stdin.flush()
        terminal.waits_for("reading: 22 records, ")
        terminal.process.stdin.close()

        assert b"sleep 0.1" in terminal.process.stdout.read()
        assert terminal.rest().endswith("\r\x1b[K")


def test_options_may_stand_between_a_uid_and_its_files(alice_file: Path, alice_uid: str) -> None:
    done = run("show", alice_uid, "--utc", str(alice_file), "-o", "json", str(alice_file))

    assert (done.returncode, done.stderr) == (0, b"")
    assert b'"sleep"' in done.stdout


def test_standard_input_is_a_trail_too(alice_file: Path) -> None:
    assert b"sleep 0.1" in run("show", "0b5e7c", "-", stdin=alice_file.read_bytes()).stdout


def test_an_output_that_knows_only_ascii_gets_escapes(alice_file: Path) -> None:
    code = f"from exectrail.cli import main; main(['show', '0b5e7c', {str(alice_file)!r}])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, env=ENV_C | {"PYTHONIOENCODING": "ascii"}
    )

    assert b"sleep 0.1" in done.stdout
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", timedelta(seconds=90)), ("1h30m", timedelta(minutes=90)), ("2d", timedelta(2)), ("1w", timedelta(7))],
)
def test_a_span_is_read_as_people_write_it(text: str, expected: timedelta) -> None:
    assert arguments.duration(text) == expected


@pytest.mark.parametrize("text", ["", "1", "h", "1 h", "-1h", "1y", "1h x", "9999999999999w"])
def test_what_is_no_span_is_refused_with_its_value_and_an_example(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.run(["sessions", f"--since={text}", "x"])

    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert repr(text) in said
    assert ("s, m, h, d or w" in said) == ("is too long" not in said)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(None, ""), (0, "0 ms"), (999, "999 ms"), (1200, "1.2 s"), (185_000, "3 min 5 s"), (7_800_000, "2 h 10 min")],
)
def test_a_duration_is_as_fine_as_it_matters(milliseconds: int | None, text: str) -> None:
    assert span(milliseconds) == text


@pytest.mark.parametrize("option", ["--since", "--until"])
def test_a_time_beyond_the_calendar_is_a_mistake(
    option: str, alice_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["sessions", str(alice_file), option, "9999-12-31T23:59:59-12:00"]) == 2
    assert capsys.readouterr() == (
        "",
        "exectrail: 9999-12-31 23:59:59-12:00 is beyond the calendar: --since and --until take the years 2 to 9998\n",
    )


@pytest.fixture(params=["Asia/Tokyo", "America/New_York"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


FIRST, LAST = "0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.000Z"


def test_a_time_that_the_local_calendar_lacks_is_shown_as_it_stands(zone: str) -> None:
    shown = {stamp: Clock(utc=False).when(stamp) for stamp in (FIRST, LAST)}

    assert shown[LAST if zone == "Asia/Tokyo" else FIRST] == (LAST if zone == "Asia/Tokyo" else FIRST)
    assert Clock(utc=True).when(LAST) == "9999-12-31 23:59:59"


@pytest.mark.parametrize("stamp", [FIRST, LAST])
@pytest.mark.parametrize(
    "words",
    ["sessions", "sessions --limit 9", "show", "summary", "untracked", "report --html -", "report --limit 9 --html -"],
)
@pytest.mark.usefixtures("zone")
def test_such_a_time_does_not_stop_the_rest(
    words: str,
    stamp: str,
    alice_trail: list[Record],
    alice_uid: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    came_in = replace(alice_trail[-1], kind="exec", origin="untracked", request_uid=None, seq=len(alice_trail))
    damaged = [each for each in alice_trail if each.request_uid == alice_uid or each.kind == "gap"][:-1]
    for each in (*damaged, came_in):
        each.timestamp = stamp
    trail = tmp_path / "trail.jsonl"
    trail.write_bytes(b"".join(map(encode, [*alice_trail, came_in])))
    command, *options = words.split()
    given = [alice_uid] if words in ("show", "report --html -") else []

    code = cli.run([command, *given, str(trail), *options])

    assert code == (1 if command == "untracked" else 0)
    assert ("node-1" if command == "untracked" else "alice") in capsys.readouterr().out


def test_the_command_reads_every_field_of_an_auditsession_that_it_shows() -> None:
    real = session.AuditSession(
        metadata=ObjectMeta(name="uid-1"),
        spec=session.SessionSpec(
            user=session.User("alice", groups=["g"], extra={"k": ["v"]}),
            verb="exec",
            resource="pods/exec",
            target=session.Target("shop", "web-0", "app"),
            time="2026-11-23T14:58:03.120456Z",
            command=["id"],
            tty=True,
        ),
        status=session.SessionStatus("Closed", "completed", Exit(3), "node-1", "start", "end", 5, 2),
    )
    shown = from_audit_session(real)

    untold = {"image", "pod_uid", "cluster_uid", "state", "weak", "lost", "reason"}
    assert {name for name in shown.__struct_fields__ if not getattr(shown, name)} == untold


def test_a_session_that_is_for_no_pod_is_shown_by_its_namespace() -> None:
    spec = session.SessionSpec(
        session.User("alice"), "break-glass", "namespaces", session.Target("shop", ""), "now", break_glass="fire"
    )
    shown = from_audit_session(session.AuditSession(ObjectMeta(name="uid-1"), spec))

    assert (shown.verb, target(shown)) == ("break-glass", "shop")


@pytest.mark.parametrize(
    ("argument", "typed"),
    [
        ("ls", "ls"),
        ("", "''"),
        ("a b", "'a b'"),
        ("$HOME", "'$HOME'"),
        ("it's", '"it\'s"'),
        ("it's $5", r"$'it\'s $5'"),
        ("id\nls", r"$'id\nls'"),
        ("\x1b[31m\x07", r"$'\x1b[31m\x07'"),
        ("\u202egpj", r"$'\u202egpj'"),
        ("\\x1b", r"'\x1b'"),
    ],
)
def test_an_argument_is_written_as_a_person_would_type_it(argument: str, typed: str) -> None:
    assert shell.quote(argument) == typed


@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), min_size=40, max_size=40))
def test_what_is_shown_means_the_same_arguments_to_a_shell(argv: list[str]) -> None:
    typed = shell.join(argv)
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {typed}"], capture_output=True, check=True, env=ENV_C)

    assert done.stdout.decode().split("\0")[:-1] == argv
    assert typed.isprintable()


@given(st.text())
def test_visible_text_always_prints(text: str) -> None:
    assert shell.visible(text).isprintable()
