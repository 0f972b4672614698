"""No command cuts a user, a target or a UID, whatever the width: in an audit a cropped name is a wrong answer."""

import io
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from exectrail import cli
from exectrail.cli import terminal
from exectrail.contracts.record import Exit, Node, Record, Request, Resource, encode

WIDTHS = [20, 40, 60, 80, 120, 200, None]
"""None is a pipe or a file."""


@dataclass(frozen=True)
class Who:
    user: str
    place: Resource
    uid: str

    @property
    def target(self) -> str:
        return f"{self.place.namespace}/{self.place.pod}/{self.place.container}"


EVERY = [
    Who(user, Resource(*place), f"0b5e7c1e-6f1d-4a53-9d0c-4a8f6f0f3c{number:02}")
    for number, (user, place) in enumerate(
        [
            ("alice", ("shop", "web-0", "app")),
            ("system:serviceaccount:ci-runners:deployer", ("ci-runners", "deploy-runner-7d9c5b8f6d-x2x7q", "runner")),
            (
                "oidc:zoë.müller@example.com",
                ("payments-production", "ledger-worker-55c7d6b7c9-8kq4v", "debugger-4xk2p"),
            ),
            ("開発者・田中太郎", ("shop", "checkout-7c6f8d9b5c-zz9pm", "app")),
            ("arn:aws:iam::123456789012:role/OrganizationAccountAccessRole", ("n" * 63, "p" * 253, "c" * 63)),
        ]
    )
]


def records(who: Who, first: int) -> list[Record]:
    """A session, and somebody who entered the same container without a request."""
    own: dict[str, Any] = {"user": who.user, "request_uid": who.uid, "origin": "session", "state": "confirmed"}
    process = {"process_key": f"b-{first}-1", "entry_key": f"b-{first}-1"}
    entered = {"process_key": f"b-{first}-2", "entry_key": f"b-{first}-2", "origin": "untracked"}
    request = Request("exec", "pods/exec", ["sh", "-c", "id; exec true"])
    fields: list[dict[str, Any]] = [
        {"kind": "session", "phase": "start", "request": request, **own},
        {"kind": "exec", "argv": ["sh", "-c", "id; exec true"], "program": "/usr/bin/dash", **process, **own},
        {"kind": "exit", "exit": Exit(0), **process, **own},
        {"kind": "session", "phase": "end", "request": request, "outcome": "completed", "exit": Exit(0), **own},
        {"kind": "exec", "argv": ["sh"], "program": "/usr/bin/dash", **entered},
    ]
    return [
        Record(
            version="spo/v1_alpha",
            audit_id=str(first + number),
            timestamp=f"2026-11-23T14:{first + number:02}:00.000Z",
            node=Node("ip-10-0-171-23.eu-central-1.compute.internal"),
            resource=who.place,
            seq=first + number,
            prev="0" * 64,
            **each,
        )
        for number, each in enumerate(fields)
    ]


TRAIL = b"".join(encode(each) for number, who in enumerate(EVERY) for each in records(who, 5 * number))


def users(who: Who) -> set[str]:
    return {who.user}


def targets(who: Who) -> set[str]:
    return {who.target}


def uids(who: Who) -> set[str]:
    return {who.uid}


def all_three(who: Who) -> set[str]:
    return {who.user, who.target, who.uid}


def users_and_targets(who: Who) -> set[str]:
    return {who.user, who.target}


SHOWN: dict[str, Callable[[Who], set[str]]] = {
    "sessions": all_three,
    "sessions -o wide": all_three,
    "sessions --limit 5": all_three,
    "sessions -o csv": lambda who: users(who) | uids(who) | set(who.target.split("/")),
    "sessions -o name": uids,
    "untracked": targets,
    "summary": users_and_targets,
    "follow --sessions": all_three,
    "report --since 2026-11-23 --html -": all_three,
}
"""What each command says of a session or an entry."""


@pytest.fixture(params=WIDTHS, ids=lambda width: str(width or "piped"))
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int | None:
    monkeypatch.setattr(terminal, "width", lambda: request.param)
    return request.param  # type: ignore[no-any-return] # one of WIDTHS


def whole(text: str) -> str:
    """The text as if nothing were wrapped: what goes on in the next line does so after an indentation."""
    return re.sub(r"[\s│├└─]", "", text)


@pytest.mark.usefixtures("width")
@pytest.mark.parametrize("command", SHOWN)
def test_all_that_a_command_says_of_a_session_stands_there_in_full(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TRAIL)))
    verb, *options = command.split()

    cli.run([verb, "-", *options])

    shown = whole(capsys.readouterr().out)
    for who in EVERY:
        for name in SHOWN[command](who):
            assert name in shown


@pytest.mark.parametrize("width", [60, 80, 120, 200, None], indirect=True)
def test_sessions_and_entries_read_as_the_golden_text_of_this_width(
    width: int | None, tmp_path: Path, capsys: pytest.CaptureFixture[str], golden: Callable[[str, str], None]
) -> None:
    (tmp_path / "trail.jsonl").write_bytes(TRAIL)

    for who in EVERY[1:4]:
        cli.run(["show", who.uid, str(tmp_path), "--utc"])
        cli.run(["untracked", str(tmp_path), "--utc", "--pod", str(who.place.pod)])

    golden(f"names-{width or 'piped'}.txt", capsys.readouterr().out)


@pytest.mark.parametrize("width", [60, 80, 120, 200, None], indirect=True)
def test_a_summary_reads_as_the_golden_text_of_this_width(
    width: int | None, tmp_path: Path, capsys: pytest.CaptureFixture[str], golden: Callable[[str, str], None]
) -> None:
    (tmp_path / "trail.jsonl").write_bytes(TRAIL)

    assert cli.run(["summary", str(tmp_path), "--utc"]) == 0

    shown = capsys.readouterr().out
    assert width is None or max(map(terminal.cells, shown.splitlines())) <= width
    golden(f"summary-{width or 'piped'}.txt", shown)


@pytest.mark.parametrize("command", ["untracked", "summary", "show"])
def test_a_name_that_fits_on_a_line_is_on_one(
    command: str, width: int | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trail.jsonl").write_bytes(TRAIL)

    for who in EVERY:
        cli.run([command, *([who.uid] if command == "show" else []), str(tmp_path), "--utc"])

        lines = capsys.readouterr().out.splitlines()
        if width is None or terminal.cells(who.target) <= width - 2:
            assert any(who.target in line for line in lines)


@pytest.mark.usefixtures("width")
@pytest.mark.parametrize("who", EVERY, ids=lambda who: who.user)
def test_a_session_is_shown_with_its_names_in_full(
    who: Who, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trail.jsonl").write_bytes(TRAIL)

    assert cli.run(["show", who.uid, str(tmp_path)]) == 0

    shown = whole(capsys.readouterr().out)
    assert all(name in shown for name in all_three(who))


@pytest.mark.usefixtures("width")
def test_uids_that_are_like_a_mistyped_one_are_named_in_full(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trail.jsonl").write_bytes(TRAIL)

    assert cli.run(["show", EVERY[0].uid[:-2], str(tmp_path)]) == 1

    named = whole(capsys.readouterr().err)
    assert all(who.uid in named for who in EVERY)
