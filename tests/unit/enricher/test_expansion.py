"""Variables in a probe's command: the words that the kubelet has run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.containers.expansion import expand, names_in

VARIABLES = {"NAME": "ready", "EMPTY": "", "PRICE": "5$$", "NESTED": "$(NAME)"}

commands = st.lists(st.text("$()NAME x", max_size=12), max_size=3)
variables = st.dictionaries(st.sampled_from(["NAME", "M", "$", "$(N"]), st.text("$()NAME x", max_size=6))


@pytest.mark.parametrize(
    ("word", "runs"),
    [
        ("/tmp/$(NAME)", "/tmp/ready"),
        ("$(NAME)$(NAME)", "readyready"),
        ("a$(EMPTY)b", "ab"),
        ("$(OTHER)", "$(OTHER)"),
        ("kill -0 $$", "kill -0 $"),
        ("kill -0 $$(cat /run/pid)", "kill -0 $(cat /run/pid)"),
        ("$$(NAME)", "$(NAME)"),
        ("$$$(NAME)", "$ready"),
        ("$NAME $x", "$NAME $x"),
        ("$(NAME", "$(NAME"),
        ("$($$", "$($"),
        ("$x$(NAME)", "$xready"),
        ("$", "$"),
        ("$(PRICE)", "5$$"),
        ("$(NESTED)", "$(NAME)"),
        ("line\n$(NAME)\n", "line\nready\n"),
    ],
)
def test_a_word_runs_with_the_values_in_it(word: str, runs: str) -> None:
    assert expand([word], VARIABLES) == (runs,)


@given(commands, variables)
def test_a_command_needs_only_the_variables_that_it_names(command: list[str], variables: dict[str, str]) -> None:
    named = {name: value for name, value in variables.items() if name in names_in(command)}

    assert expand(command, named) == expand(command, variables)


def test_a_command_with_megabytes_of_values_stays_as_it_is() -> None:
    command = ["$(NAME)" * 1000]

    assert expand(command, {"NAME": "x" * 1000}) == tuple(command)
