"""A report in a real browser: it folds, it is searched, and nothing that stands in it can act."""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from exectrail import cli
from exectrail.contracts.record import Exit, Node, Record, Request, Resource, encode
from exectrail.reading.shell import join
from tests.unit.exectrail.hostile import HOSTILE

from .chromium import Tab

TAKEN = "taken"
"""The title that a page gets when a hostile script runs."""
UID = "5eed0000-0000-4000-8000-000000000001"
VISIBLE = "[...document.querySelectorAll('li.row')].filter(row => row.checkVisibility())"
PIDS = f"{VISIBLE}.map(row => row.querySelector('.pid').textContent)"

Report = Callable[..., Path]


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """Writes the report of a session with these processes."""

    def written(*argvs: list[str], **of_session: object) -> Path:
        trail = tmp_path / "trail.jsonl"
        trail.write_bytes(b"".join(map(encode, session(argvs, **of_session))))
        page = tmp_path / "report.html"
        assert cli.run(["report", UID, str(trail), "--html", str(page)]) == 0
        return page

    return written


def session(argvs: tuple[list[str], ...], **of_session: object) -> list[Record]:
    """One in which each process starts the next two, as in a heap: pids count from 1."""
    common: dict[str, object] = {"version": "spo/v1_alpha", "audit_id": "a", "prev": "", "seq": 0, "node": Node("n")}
    common |= {"resource": Resource("shop", "web-0", "app"), "user": "alice", "request_uid": UID, "origin": "session"}
    common |= {"timestamp": "2026-11-23T14:58:03.120Z", "state": "confirmed"}

    def record(**fields: object) -> Record:
        return Record(**(common | fields))  # type: ignore[arg-type] # by keyword

    told: dict[str, object] = {"kind": "session", "request": Request("exec", "pods/exec", ["sh"])} | of_session
    records = [record(phase="start", **told)]
    for pid, argv in enumerate(argvs, 1):
        who: dict[str, object] = {"pid": pid, "process_key": f"k{pid}", "parent_key": f"k{pid // 2}"}
        records.append(record(kind="exec", argv=argv, **who))
        records.append(record(kind="exit", exit=Exit(pid % 2), duration_ms=7, **who))
    records.append(record(phase="end", exit=Exit(0), outcome="completed", **told))
    return [replace(each, seq=seq) for seq, each in enumerate(records)]


def requested(tab: Tab) -> list[str]:
    return [event["request"]["url"] for event in tab.happened("Network.requestWillBeSent")]


@pytest.fixture
def hostile(report: Report) -> Path:
    every = list(HOSTILE.values())
    told = Request("exec", "pods/exec", every)
    return report(*([text, text] for text in every), request=told, image=HOSTILE["end of the script"], weak=every)


def test_no_script_of_an_argument_runs_and_all_of_it_is_shown(tab: Tab, hostile: Path) -> None:
    tab.open(hostile)

    assert tab.script("document.title") == "alice exec shop/web-0/app · exectrail"
    assert sorted(tab.script("[...document.querySelectorAll('code')].map(code => code.textContent)")) == sorted(
        join([text, text]) for text in HOSTILE.values()
    )
    assert tab.script("document.scripts.length") == 1
    assert tab.script("document.querySelectorAll('h1, img, iframe, a').length") == 1
    assert requested(tab) == [hostile.as_uri()]
    assert tab.happened("Page.javascriptDialogOpening") == tab.happened("Log.entryAdded") == []


def test_opened_records_run_nothing_either(tab: Tab, hostile: Path) -> None:
    tab.open(hostile)
    tab.script("document.querySelectorAll('details').forEach(each => { each.open = true; })")

    assert tab.script("document.querySelector('pre').checkVisibility()")
    assert TAKEN not in tab.script("document.title")
    assert requested(tab) == [hostile.as_uri()]


_TAKES = f"""
new Promise((done) => {{
  const look = () => document.title === '{TAKEN}' ? done() : setTimeout(look, 5);
  look();
}})
"""
"""Waits for a hostile script to run: without the policy it does."""


@pytest.mark.parametrize(
    "injected",
    [
        f"<script>document.title='{TAKEN}'</script>",
        f"<img src=data:, onerror=\"document.title='{TAKEN}'\">",
        f"<svg onload=\"document.title='{TAKEN}'\"></svg>",
        "<script src=data:text/javascript,document.title='taken'></script>",
    ],
    ids=["script", "image", "drawing", "script from elsewhere"],
)
def test_the_policy_stops_a_script_that_got_past_the_escaping(injected: str, tab: Tab, report: Report) -> None:
    page = report(["id"])
    whole = page.read_text()
    page.write_text(whole.replace("<main>", f"<main>{injected}"))
    tab.open(page)
    stopped = tab.script("document.title")
    complaints = " ".join(event["entry"]["text"] for event in tab.happened("Log.entryAdded"))

    open_page = page.with_name("without-policy.html")
    open_page.write_text(page.read_text().replace("Content-Security-Policy", "x"))
    tab.open(open_page)
    tab.script(_TAKES)

    assert stopped == "alice exec shop/web-0/app · exectrail"
    assert "Content Security Policy" in complaints


def test_a_click_folds_what_is_below_a_process_and_unfolds_it_again(tab: Tab, report: Report) -> None:
    tab.open(report(*(["id"] for _ in range(7))))
    assert tab.script(PIDS) == ["1", "2", "4", "5", "3", "6", "7"]

    tab.click("li.row:nth-child(2) .fold")
    assert tab.script(PIDS) == ["1", "2", "3", "6", "7"]
    tab.click("li.row:nth-child(1) .fold")
    assert tab.script(PIDS) == ["1"]
    tab.click("li.row:nth-child(1) .fold")
    assert tab.script(PIDS) == ["1", "2", "3", "6", "7"]  # what was folded by itself stays so
    tab.click(".unfold-all")
    assert len(tab.script(PIDS)) == 7
    tab.click(".fold-all")
    assert tab.script(PIDS) == ["1"]


@pytest.mark.parametrize(
    ("typed", "pids", "count"),
    [
        ("needle", ["1", "2", "5"], "1 of 7 processes"),
        ("NEEDLE '<B", ["1", "2", "5"], "1 of 7 processes"),
        ("exit 0", ["1", "2", "4", "3", "6"], "3 of 7 processes"),
        ("nothing like it", [], "0 of 7 processes"),
    ],
)
def test_a_search_shows_what_has_the_words_and_the_processes_above(
    typed: str, pids: list[str], count: str, tab: Tab, report: Report
) -> None:
    tab.open(report(*(["needle", "<b>"] if pid == 5 else ["id"] for pid in range(1, 8))))
    tab.click(".fold-all")
    tab.click("input")
    tab.type(typed)

    assert tab.script(PIDS) == pids
    assert tab.script("document.querySelector('output').textContent") == count


def test_a_search_that_is_taken_back_shows_all_again(tab: Tab, report: Report) -> None:
    tab.open(report(["id"], ["needle"], ["ls"]))
    tab.click("input")
    tab.type("needle")
    assert tab.script(PIDS) == ["1", "2"]
    tab.script("document.querySelector('input').select()")
    tab.type(" ")

    assert tab.script(PIDS) == ["1", "2", "3"]


def test_a_click_on_the_number_of_records_shows_them(tab: Tab, report: Report) -> None:
    tab.open(report(["id"]))
    tab.click("li.row summary")

    assert '"argv":["id"]' in tab.script("document.querySelector('li.row pre').innerText")


@pytest.mark.parametrize(("width", "mobile"), [(360, True), (768, True), (1280, False)])
def test_nothing_is_wider_than_the_screen(width: int, mobile: bool, tab: Tab, hostile: Path) -> None:
    tab.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=mobile)
    tab.open(hostile)
    tab.script("document.querySelectorAll('details').forEach(each => { each.open = true; })")

    assert tab.script("document.documentElement.scrollWidth") <= width


CONTRAST = """
(() => {
  const light = (colour) => {
    const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
      .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const page = light(getComputedStyle(document.body).backgroundColor);
  return [...document.querySelectorAll('.pill, dt, dd, .at, code, a, .mark, .gaps, p')].map((each) => {
    const text = light(getComputedStyle(each).color);
    return (Math.max(text, page) + 0.05) / (Math.min(text, page) + 0.05);
  });
})()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("media", ["screen", "print"])
def test_all_text_can_be_read_in_light_and_dark_and_on_paper(
    scheme: str, media: str, tab: Tab, alice_file: Path, tmp_path: Path
) -> None:
    cli.run(["report", str(alice_file), "--user", "*", "--html", str(tmp_path / "report.html")])
    tab.call("Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}])
    tab.open(tmp_path / "report.html")
    contrasts = tab.script(CONTRAST)

    assert len(contrasts) > 30
    assert min(contrasts) >= 4.5  # what WCAG 2.2 asks for, 1.4.3


def test_paper_has_all_processes_folded_or_not_and_no_buttons(tab: Tab, report: Report) -> None:
    tab.open(report(*(["id"] for _ in range(7))))
    tab.click(".fold-all")
    tab.call("Emulation.setEmulatedMedia", media="print")

    assert len(tab.script(PIDS)) == 7
    assert not tab.script(
        "[...document.querySelectorAll('button, input, summary')]"
        ".some(each => each.checkVisibility({visibilityProperty: true}))"
    )


def test_ten_thousand_processes_fold_and_are_searched_and_only_those_in_sight_are_drawn(
    tab: Tab, report: Report
) -> None:
    tab.open(report(*(["grep", "-r", f"needle-{pid}."] for pid in range(1, 10_001))))
    assert tab.script(f"new Set({VISIBLE}.map(row => getComputedStyle(row).contentVisibility)).size") == 1
    assert tab.script("getComputedStyle(document.querySelector('li.row')).contentVisibility") == "auto"

    tab.click("input")
    tab.type("needle-777.")
    assert tab.script(f"{VISIBLE}.length") == 10
    tab.click(".fold-all")
    assert tab.script(f"{VISIBLE}.length") == 1
    tab.click(".unfold-all")
    assert tab.script(f"{VISIBLE}.length") == 10_000
