"""Every example of the command in the documentation runs, as it stands there; what text and help name, parses."""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exectrail import cli
from exectrail.cli.command_line import commands
from exectrail.contracts.record import Record, encode

from .covered_cluster import CoveredCluster
from .fake_cluster import FakeCluster
from .fake_loki import SECOND, serving

REPO = Path(__file__).parents[3]
UID = "b28d1bc0-51eb-43f5-85e7-8b4cb424ffd9"
"""That of the README's session."""
FILTERS = '[{"priority": 100, "level": "Metadata", "matchKeys": ["requestUID"]}]'
PROFILE = """\
apiVersion: security-profiles-operator.x-k8s.io/v1
kind: SeccompProfile
metadata: {name: %s}
spec: {defaultAction: SCMP_ACT_ERRNO, %s}
"""
START = f"""\
kubectl() {{ case "$1" in exectrail) shift; exectrail "$@";; get) echo {UID};; esac; }}
logcli() {{ cat trail.jsonl; }}
mail() {{ cat > mailed; }}
"""
PAGES = [*sorted((REPO / "docs").rglob("*.md")), *sorted(REPO.glob("*.md"))]


def in_pages(pattern: str) -> list[tuple[str, str]]:
    """Of each match its page and its first group."""
    compiled = re.compile(pattern, re.MULTILINE)
    return [(str(page.relative_to(REPO)), found) for page in PAGES for found in compiled.findall(page.read_text())]


def examples() -> list[tuple[str, str]]:
    """Indented lines that run the command, what a page shows of a terminal, and pipes within text."""
    lines = in_pages(r"^(?: {4}|\$ )((?:kubectl |source <\(|\S+/bin/)?exectrail .*)$")
    return lines + in_pages(r"`([^`\n]+ \| exectrail [^`\n]+)`")


def named_in_text() -> list[tuple[str, str]]:
    """Commands within sentences and tables, maybe with placeholders."""
    return in_pages(r"`(?:kubectl )?exectrail ([^`\n]+)`")


def named_in_help() -> list[tuple[str, str]]:
    """Commands that a description, an option's help or the text below them names."""
    return [
        (command.name, found)
        for command in commands()
        for text in (
            command.parser.description or "",
            command.parser.epilog or "",
            *(action.help or "" for action in command.parser._actions),
        )
        for found in re.findall(r"exectrail (?!itself)((?:[a-z-]+ ?)+)", text)
    ]


@pytest.fixture
def loki(alice_trail: list[Record], alice_uid: str) -> Iterator[str]:
    """The address of a Loki that has the same session."""
    with serving() as served:
        begin = time.time_ns() - 60 * SECOND
        served.lines = [
            (begin + each.seq, encode(each).decode().rstrip("\n").replace(alice_uid, UID)) for each in alice_trail
        ]
        yield served.url


@pytest.fixture
def folder(cluster: FakeCluster, alice_trail: list[Record], alice_uid: str, tmp_path: Path) -> Path:
    """A folder with the files that examples name, and a cluster that has the same session."""
    trail = b"".join(map(encode, alice_trail)).replace(alice_uid.encode(), UID.encode())
    (tmp_path / "trail.jsonl").write_bytes(trail)
    files = {
        "filters.json": FILTERS,
        "profile.yaml": PROFILE % ("profile", "baseProfileName: base"),
        "base.yaml": PROFILE % ("base", ""),
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    (tmp_path / ".config/fish/completions").mkdir(parents=True)
    (tmp_path / "man/man1").mkdir(parents=True)
    program = cluster.folder / "exectrail"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m exectrail "$@"\n')
    program.chmod(0o755)
    chain = f'{{"node":"node-1","ranges":[[0,{len(alice_trail) - 1}]]}}'
    cluster.answers("get auditsessions", out=b'{"items": []}')
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1")
    cluster.answers("logs", out=b"")
    cluster.answers("version --output=json", out={})
    CoveredCluster().is_shown_by(cluster)
    cluster.answers("exec", out=trail + f'{{"kind":"end-of-trail","chains":[{chain}],"damaged":0}}\n'.encode())
    return tmp_path


@pytest.mark.parametrize(("page", "example"), examples(), ids=str)
def test_an_example_of_the_docs_runs(page: str, example: str, folder: Path, cluster: FakeCluster, loki: str) -> None:
    line = example.replace("/usr/local/share/man", str(folder / "man")).replace("build/quickstart/bin/", "")
    line = re.sub(r"\bUID\b", UID, line).replace("https://loki.example.com:3100", loki)
    env = os.environ | {"PYTHONPATH": str(REPO), "HOME": str(folder), "KUBECTL": str(cluster.folder / "kubectl")}

    done = subprocess.run(
        ["bash", "-c", f"{START}{line}"], cwd=folder, env=env, capture_output=True, text=True, check=False
    )

    expected = r"exectrail: (no (sessions|untracked entries)|bundle written to .*|looked back 30 days in Loki.*)\n"
    assert (done.returncode, re.sub(expected, "", done.stderr)) == (0, "")


def test_there_are_examples() -> None:
    named = {word for _, example in examples() for word in example.split()}

    assert named >= {"sessions", "show", "untracked", "doctor", "filter", "profile", "completion", "man", "logcli"}
    assert len(named_in_text()) > 20
    assert {words.strip() for _, words in named_in_help()} >= {"completion bash", "completion fish", "man"}


@pytest.mark.parametrize(("place", "words"), [*named_in_text(), *named_in_help()], ids=str)
def test_a_command_that_text_or_help_names_is_one(place: str, words: str) -> None:
    if words.strip() in {command.name for command in commands()}:
        return
    given = re.sub(r"\[[^]]*\]|\.\.\.", "", words).replace("UID", UID).replace("SHELL", "bash")

    assert cli.parser("exectrail").parse_args(shlex.split(given)).run


@pytest.mark.parametrize("command", list(commands()), ids=lambda command: command.name)
def test_every_command_explains_itself_and_all_that_it_takes(
    command: object, capsys: pytest.CaptureFixture[str]
) -> None:
    name, parser = command.name, command.parser  # type: ignore[attr-defined] # a Command
    with pytest.raises(SystemExit) as stop:
        cli.run([*name.split(), "--help"])

    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert parser.description in " ".join(shown.split())
    assert all(action.help or action.dest in {"subcommand", "help"} or action.choices for action in parser._actions)
