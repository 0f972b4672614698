"""`--loki`: the same answers as from the file, page by page, and what is said where Loki does not give them."""

import json
import re
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from exectrail import cli
from exectrail.contracts.record import Record, encode
from exectrail.reading.loki_trail import SELECTOR, among

from .fake_loki import SECOND, Answer, FakeLoki, basic, serving
from .test_show import UNTAGGED, late_trail
from .test_untracked import entry

REPO = Path(__file__).parents[3]
Run = Callable[..., tuple[int, str, str]]
SINCE = ("--since", "2026-11-23", "--utc")
PAGE = (200, "text/html", b"<!DOCTYPE html><title>Log in</title>")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    for name in ("LOKI_BEARER_TOKEN", "LOKI_USERNAME", "LOKI_PASSWORD"):
        monkeypatch.delenv(name, raising=False)

    def command(*argv: object) -> tuple[int, str, str]:
        code = cli.run(list(map(str, argv)))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


@pytest.fixture
def loki(alice_trail: list[Record]) -> Iterator[FakeLoki]:
    """It has alice's trail, written a minute ago."""
    with serving() as served:
        begin = time.time_ns() - 60 * SECOND
        served.lines = [
            (begin + record.seq * SECOND // 10, encode(record).decode().rstrip("\n")) for record in alice_trail
        ]
        yield served


def test_what_ran_before_the_request_showed_is_found_there_too(loki: FakeLoki, tmp_path: Path, run: Run) -> None:
    trail = tmp_path / "trail.jsonl"
    trail.write_bytes(late_trail(UNTAGGED))
    begin = time.time_ns() - 60 * SECOND
    loki.lines = [(begin + at, each) for at, each in enumerate(trail.read_text().splitlines())]

    _, shown, _ = run("show", "uid-1", "--loki", loki.url)

    assert "└── ls" in shown
    assert shown == run("show", "uid-1", trail)[1]


def test_without_an_http_client_it_is_said_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "urllib3", None)

    assert run("sessions", "--loki", "http://localhost:1") == (
        2,
        "",
        "exectrail: reading Loki needs the package urllib3: pip install urllib3\n",
    )


@pytest.mark.parametrize(
    "command",
    [
        ("sessions", *SINCE),
        ("sessions", *SINCE, "--limit", 1),
        ("sessions", *SINCE, "-o", "json", "--user", "alice"),
        ("untracked", *SINCE),
        ("summary", *SINCE, "-o", "json"),
        ("show", "0b5e7c"),
        ("show", "0b5e7c", "--raw"),
        ("show", "0b5e7d"),
        ("report", "0b5e7c", "--html", "-"),
        ("report", *SINCE, "--html", "-"),
    ],
    ids=lambda command: " ".join(map(str, command)),
)
def test_loki_tells_the_same_as_the_file(
    run: Run, loki: FakeLoki, alice_file: Path, command: tuple[object, ...]
) -> None:
    code, out, _ = run(*command, "--loki", loki.url)
    expected, of_file, _ = run(*command, alice_file)

    assert code == expected
    if command[0] == "report":  # which says when it was made
        assert out.count("<tr") == of_file.count("<tr") and len(out) == len(of_file)
    else:
        assert out == of_file


def test_an_entry_counts_by_its_beginning_also_where_loki_has_that_before_the_time(run: Run, loki: FakeLoki) -> None:
    loki.lines.clear()
    now = time.time_ns()
    went_on, entered = ("b-7-1", (1, 7200), (2, 60)), ("b-9-9", (3, 30))
    for key, *records in (went_on, entered):
        for seq, ago in records:
            written = now - ago * SECOND
            timestamp = datetime.fromtimestamp(written / SECOND, UTC).isoformat(timespec="milliseconds")
            record = entry(seq, key, entry_key=key, argv=["sh"], timestamp=timestamp.replace("+00:00", "Z"))
            loki.lines.append((written, encode(record).decode().rstrip("\n")))

    code, out, err = run("untracked", "--loki", loki.url, "--since", "1h", "-o", "json")
    everything = run("untracked", "--loki", loki.url, "--since", "3h", "-o", "json")[1]

    assert (code, err, [each["entryKey"] for each in json.loads(out)]) == (1, "", ["b-9-9"])
    assert [each["entryKey"] for each in json.loads(everything)] == ["b-7-1", "b-9-9"]


@pytest.mark.parametrize("most", [10, 100, 5000])
def test_pages_have_each_line_once(run: Run, loki: FakeLoki, alice_trail: list[Record], most: int) -> None:
    loki.most = most
    first = loki.lines[0]
    record = json.loads(first[1])
    # 400 records, of which 7 are of each moment, so that pages end among them; the latest comes first.
    lines = [json.dumps(record | {"seq": seq, "auditID": str(seq)}, separators=(",", ":")) for seq in range(400)]
    loki.lines = [(first[0] + seq // 7 * (SECOND // 10), line) for seq, line in enumerate(lines)][::-1]

    code, out, err = run("show", "0b5e7c", "--raw", "--loki", loki.url)

    assert out.splitlines() == lines
    assert "missing" not in err
    assert code == 0


def test_a_time_longer_than_one_query_may_have_is_asked_for_in_parts(run: Run, loki: FakeLoki) -> None:
    loki.longest = 100 * 3600 * SECOND

    code, out, _ = run("sessions", "--loki", loki.url, "--loki-days", 40)

    spans = [(int(f["start"]), int(f["end"])) for endpoint, f, _ in loki.asked if endpoint == "query_range"]
    answered = [span for span in spans if span[1] - span[0] <= loki.longest]
    assert all(before[1] == after[0] for before, after in pairwise(answered))
    assert answered[-1][1] - answered[0][0] >= 40 * 24 * 3600 * SECOND
    assert max(end - start for start, end in spans) <= 721 * 3600 * SECOND
    assert (code, len(out.splitlines())) == (0, 3)


def test_since_is_where_the_query_begins_and_until_leaves_out_only_what_begins_later(run: Run, loki: FakeLoki) -> None:
    code, out, err = run("sessions", "--loki", loki.url, "--since", "2026-11-23T14:58:03Z", "--until", "2026-11-24")

    asked = loki.asked[0][1]
    assert int(asked["start"]) == datetime.fromisoformat("2026-11-23T14:58:03Z").timestamp() * SECOND
    assert int(asked["end"]) > loki.lines[-1][0]
    assert (code, err) == (0, "")
    assert "exit 3" in out


def test_without_since_it_is_said_how_far_back_was_looked(run: Run, loki: FakeLoki) -> None:
    _, _, err = run("sessions", "--loki", loki.url)

    assert err == "exectrail: looked back 30 days in Loki; --loki-days N looks further\n"
    asked = loki.asked[0][1]
    assert int(asked["end"]) - int(asked["start"]) == pytest.approx(30 * 24 * 3600 * SECOND, abs=2 * SECOND)


def test_only_the_streams_of_the_recipe_are_asked_for_unless_others_are_named(run: Run, loki: FakeLoki) -> None:
    recipe = (REPO / "docs/tasks/log-stores/config.alloy").read_text()
    assert re.search(r'"app"\s*= "exectrail"', recipe)
    assert re.search(r'stage.labels {\s*values = {\s*node = "",\s*kind = "",', recipe)

    assert f"`{SELECTOR}`" in (REPO / "docs/tasks/log-stores.md").read_text()

    run("sessions", "--loki", loki.url)
    run("show", "0b5e7c", "--loki", loki.url, "--loki-selector", '{k8s_container_name="enricher"}')

    sessions, show = loki.queries
    assert sessions.startswith(f"{SELECTOR} |= ")
    assert show.startswith('{k8s_container_name="enricher"} |~ "0b5e7c|')


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=3))
def test_no_needle_leaves_its_string_in_the_query(needles: list[str]) -> None:
    filtered = among(needle.encode() for needle in needles)

    literal = filtered.removeprefix(" |= ").removeprefix(" |~ ")
    assert json.JSONDecoder().raw_decode(literal)[1] == len(literal)


@pytest.mark.parametrize(
    ("environment", "options", "expected"),
    [
        ({}, (), {"Authorization": None, "X-Scope-OrgID": None}),
        ({"LOKI_BEARER_TOKEN": "s3cret"}, (), {"Authorization": "Bearer s3cret"}),
        ({"LOKI_USERNAME": "eve", "LOKI_PASSWORD": "s3cret"}, (), {"Authorization": basic("eve", "s3cret")}),
        ({}, ("--loki-org-id", "shop"), {"X-Scope-OrgID": "shop"}),
    ],
)
def test_credentials_are_of_the_environment_and_the_tenant_of_an_option(
    run: Run,
    loki: FakeLoki,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    options: tuple[str, ...],
    expected: dict[str, str | None],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    _, out, err = run("sessions", "--loki", loki.url, *options)

    for _, _, headers in loki.asked:
        assert {name: headers.get(name) for name in expected} == expected
    assert "s3cret" not in out + err


def test_a_certificate_is_trusted_by_its_authority_alone(run: Run, tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    with serving(context) as loki:
        refused, _, err = run("sessions", "--loki", loki.url)
        code, _, said = run("sessions", "--loki", loki.url, "--loki-ca", tmp_path / "ca.pem")

    assert "its certificate is not trusted: name its authority by --loki-ca" in err
    assert (refused, code) == (2, 0), said


def test_a_uid_that_is_not_found_is_said_so_also_where_loki_fails_then(run: Run, loki: FakeLoki) -> None:
    loki.instead[1] = (500, "text/plain", b"boom")

    code, out, err = run("show", "abcdef", "--loki", loki.url)

    assert "no session abcdef" in err and "answered 500" in err
    assert (code, out) == (2, "")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((500, "text/plain", b"boom\n"), "answered 500 Internal Server Error (boom); Loki's own log says why"),
        ((401, "text/plain", b"no org id\n"), "answered 401 Unauthorized (no org id); set LOKI_BEARER_TOKEN"),
        ((403, "text/plain", b""), "answered 403 Forbidden; these credentials may not read"),
        ((404, "text/html", PAGE[2]), "answered 404 Not Found (an HTML page); --loki takes the address of Loki"),
        ((302, "text/html", b""), "answered 302 Found; --loki takes the address of Loki itself, not of Grafana"),
        ((400, "text/plain", b"parse error \x1b[2J"), "(parse error \\x1b[2J); does --loki-selector"),
        (PAGE, "it answered an HTML page; --loki takes the address of Loki"),
        ((200, "application/json", b'{"status":"success","data":{"resu'), "its answer is cut or damaged"),
        ((200, "application/json", b'{"database": "ok"}'), "it answered what Loki never answers"),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, tuple) else "",
)
def test_a_loki_that_answers_nothing_to_read_is_named_with_a_remedy(
    run: Run, loki: FakeLoki, answer: Answer, said: str
) -> None:
    loki.always = answer

    for command in (
        ("sessions",),
        ("untracked",),
        ("summary",),
        ("show", "0b5e7c"),
        ("report", "0b5e7c", "--html", "-"),
    ):
        code, _, err = run(*command, "--loki", loki.url)
        assert f"exectrail: Loki at {loki.url}: " in err
        assert said in err
        assert "Traceback" not in err and "\x1b" not in err
        assert code == 2, command


def test_fewer_lines_are_asked_for_where_an_answer_takes_too_long(run: Run, loki: FakeLoki) -> None:
    loki.instead[0] = (504, "text/plain", b"request timed out")

    code, out, _ = run("sessions", "--loki", loki.url)

    assert [fields["limit"] for endpoint, fields, _ in loki.asked if endpoint == "query_range"] == ["1000", "250"]
    assert (code, len(out.splitlines())) == (0, 3)


@pytest.mark.parametrize("how", ["status", "cut", "page"])
def test_what_was_read_before_an_error_is_shown(run: Run, loki: FakeLoki, how: str) -> None:
    loki.most = 100
    start = min(time for time, _ in loki.lines)
    record = json.loads(loki.lines[0][1])
    changed = ({"seq": seq, "auditID": str(seq), "requestUID": f"{seq:06}-0000"} for seq in range(250))
    loki.lines = [(start + n, json.dumps(record | new, separators=(",", ":"))) for n, new in enumerate(changed)]
    # 0: 1000 are too many; 1: the first page.
    if how == "cut":
        loki.cut_at = 2
    else:
        loki.instead[2] = (500, "text/plain", b"boom") if how == "status" else PAGE

    code, out, err = run("sessions", "--loki", loki.url, "-o", "name")

    assert out.splitlines() == [f"{seq:06}-0000" for seq in range(99)]
    assert f"Loki at {loki.url}: only a part was read: " in err
    assert code == 3


def test_records_that_did_not_arrive_are_missed(run: Run, loki: FakeLoki, alice_trail: list[Record]) -> None:
    del loki.lines[4:6]

    for command in (("sessions",), ("summary",), ("show", "0b5e7c")):
        code, _, err = run(*command, "--loki", loki.url)
        assert f"node node-1: of the records 0 to {len(alice_trail) - 1}, 2 did not arrive there" in err
        assert code == 3


def test_a_count_that_loki_does_not_give_leaves_open_whether_all_was_read(run: Run, loki: FakeLoki) -> None:
    loki.instead[1] = (500, "text/plain", b"boom")

    code, out, err = run("sessions", "--loki", loki.url)

    assert len(out.splitlines()) == 3
    assert "whether records are missing cannot be seen: it answered 500" in err
    assert code == 3


def test_more_lines_of_one_moment_than_an_answer_has_are_a_loss_that_is_named(run: Run, loki: FakeLoki) -> None:
    loki.most = 100
    record = json.loads(loki.lines[0][1])
    lines = [json.dumps(record | {"seq": seq, "auditID": str(seq)}, separators=(",", ":")) for seq in range(150)]
    loki.lines = [(loki.lines[0][0], line) for line in lines]

    code, out, err = run("show", "0b5e7c", "--raw", "--loki", loki.url)

    assert out.splitlines() == lines[:100]
    assert "more than 100 lines of one moment" in err and "max_entries_limit_per_query" in err
    assert code == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--loki", "http://127.0.0.1:9"), "Loki at http://127.0.0.1:9: no answer"),
        (("--loki", "http://127.0.0.1:9", "--loki-org-id", "a\nb"), "--loki-org-id have characters that no header"),
        (("--loki", "http://127.0.0.1:9", "--loki-org-id", "☃"), "--loki-org-id have characters that no header"),
        (("--loki", "http://127.0.0.1:9", "trail.jsonl"), "give FILE or --loki, not both"),
        (("--loki", "http://127.0.0.1:9", "--loki-ca", "absent.pem"), "--loki-ca absent.pem: No such file"),
    ],
)
def test_what_cannot_be_asked_at_all_says_so(run: Run, arguments: tuple[str, ...], said: str) -> None:
    code, _, err = run("sessions", *arguments)

    assert said in err
    assert code == 2


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://eve:s3cret@loki", "set LOKI_USERNAME and LOKI_PASSWORD instead"),
        ("loki:3100", "is no address such as"),
        ("http://loki:port", "it is no address"),
    ],
)
def test_an_address_that_is_none_or_has_credentials_is_refused(
    run: Run, capsys: pytest.CaptureFixture[str], url: str, said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run("sessions", "--loki", url)

    err = capsys.readouterr().err
    assert said in err and "s3cret" not in err
    assert ended.value.code == 2


def test_following_a_session_does_not_read_loki(run: Run) -> None:
    assert run("show", "0b5e7c", "--follow", "--loki", "http://127.0.0.1:9")[0] == 2
