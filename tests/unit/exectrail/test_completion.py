"""What is made of the parsers: completion for three shells, and the manual page."""

import re
import subprocess
import sys

import pytest

from exectrail import cli
from exectrail.cli import man
from exectrail.cli.command_line import commands, help_of

EVERY = list(commands())


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.run(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["exectrail", ""], {"sessions", "show", "untracked", "profile", "completion"}),
        (["exectrail", "sessi"], {"sessions"}),
        (["kubectl-exectrail", "sessions", "--verb", ""], {"exec", "attach", "portforward", "debug"}),
        (["exectrail", "sessions", "--verb", "exec", "--out"], {"--outcome", "--output"}),
        (["exectrail", "sessions", "-o", "js"], {"json", "jsonl"}),
        (["exectrail", "profile", "merge", "--n"], {"--name"}),
        (["exectrail", "completion", ""], {"bash", "zsh", "fish"}),
        (["exectrail", "sessions", "--user", ""], set()),
        (["exectrail", "show", "--raw", __file__[:-5]], {__file__}),
        (["exectrail", "filter", "--try", __file__[:-5]], {__file__}),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, list) else "",
)
def test_bash_completes(words: list[str], completed: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    typed = " ".join(f"'{word}'" for word in words)
    asked = f'COMP_WORDS=({typed}) COMP_CWORD={len(words) - 1}; _exectrail; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(
        ["bash", "-c", f"{script('bash', capsys)}\n{asked}"], capture_output=True, text=True, check=True
    )

    found = {line for line in done.stdout.split("\n") if line}
    assert (completed <= found) if len(completed) > 3 else (completed == found)
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_know_every_command_and_what_each_option_does(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = re.sub(r"""'"'"'|\\""", "", script(shell, capsys))

    for command in EVERY:
        assert command.help.replace("'", "") in text
        for option in command.options:
            assert help_of(option).replace("'", "") in text
            names = option.option_strings
            assert all(
                (name in text) if shell == "zsh" else (f"-l {name[2:]}" in text or len(name) == 2) for name in names
            )


def test_the_manual_page_has_every_command_option_and_exit_code() -> None:
    text = "\n".join(man.page()).replace("\\-", "-")

    for command in EVERY[1:]:
        assert f"\n.SS {command.name}\n" in text
        for option in command.options:
            assert rf"\fB{', '.join(option.option_strings)}\fR" in text
    assert "SUPPRESS" not in text
    assert "\n.SH EXIT CODES\n" in text
    assert "\n.SH ENVIRONMENT\n" in text
    assert [line for line in text.splitlines() if line.startswith("'")] == []


def test_neither_needs_more_than_the_parsers() -> None:
    code = "import sys; from exectrail import cli; cli.run(['man']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "urllib3" not in done.stdout.splitlines()[-1].split()
