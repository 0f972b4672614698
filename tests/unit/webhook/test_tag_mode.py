"""Which labels, and which knowledge of the container, make a command carry its tag."""

from collections.abc import Callable
from typing import Literal

import pytest

from webhook.reviews.tag_mode import Known, mode_of, untagged_debug, untagged_exec

RECORD = {"exectrail.io/record": "true"}


def tag(mode: str) -> dict[str, str]:
    return {"exectrail.io/tag": mode}


def says(answer: bool | None) -> Callable[[str], bool | None]:
    return lambda container: answer if container == "app" else None


@pytest.mark.parametrize(
    ("namespace", "pod", "mode"),
    [
        ({}, {}, "auto"),
        (None, {}, "auto"),
        (tag("match"), {}, "match"),
        (tag("env"), {}, "env"),
        (tag("env"), tag("match"), "match"),
        (tag("match"), tag("auto"), "auto"),
        (None, tag("match"), "match"),
        (tag("match"), {"app": "web"}, "match"),
    ],
)
def test_the_label_of_a_pod_wins_over_its_namespaces(
    namespace: dict[str, str] | None, pod: dict[str, str], mode: str
) -> None:
    assert mode_of(Known(namespace, pod)) == (mode, [])


@pytest.mark.parametrize(
    ("namespace", "pod", "whose"),
    [(tag("Match"), {}, "namespace"), (tag("match"), tag(""), "pod"), (tag("x" * 63), {}, "namespace")],
)
def test_an_unknown_mode_is_auto_and_the_warning_names_the_modes(
    namespace: dict[str, str], pod: dict[str, str], whose: str
) -> None:
    mode, (warning,) = mode_of(Known(namespace, pod))

    assert mode == "auto"
    assert warning.startswith(f"exectrail: label exectrail.io/tag of the {whose}: no mode ")
    assert warning.endswith("; allowed: auto, env, match")
    assert len(warning) <= 256


@pytest.mark.parametrize(
    ("has_env", "unknown", "reason"),
    [
        (True, "env", None),
        (True, "match", None),
        (False, "env", "no-env"),
        (False, "match", "no-env"),
        (None, "env", None),
        (None, "match", "env-unknown"),
    ],
)
def test_auto_tags_a_command_only_where_env_is_there(
    has_env: bool | None, unknown: Literal["env", "match"], reason: str | None
) -> None:
    assert untagged_exec("auto", Known(RECORD, {}, says(has_env)), "app", ["id"], unknown) == reason


@pytest.mark.parametrize(
    ("namespace", "reason"),
    [({}, "not-opted-in"), (None, "namespace-unknown"), (RECORD, None)],
)
def test_auto_tags_only_where_the_namespace_is_opted_in(namespace: dict[str, str] | None, reason: str | None) -> None:
    known = Known(namespace, {}, says(True))

    assert untagged_exec("auto", known, "app", ["id"], "match") == reason
    assert untagged_debug("auto", known) == reason


@pytest.mark.parametrize("namespace", [{}, None, RECORD])
@pytest.mark.parametrize("has_env", [True, False, None])
def test_env_and_match_are_done_as_they_are_asked_for(namespace: dict[str, str] | None, has_env: bool | None) -> None:
    known = Known(namespace, {}, says(has_env))

    assert untagged_exec("env", known, "app", ["id"], "match") is None
    assert untagged_exec("match", known, "app", ["id"], "env") == "match"
    assert untagged_debug("env", known) is None
    assert untagged_debug("match", known) == "match"


def test_a_command_that_env_would_change_is_never_tagged() -> None:
    assert untagged_exec("env", Known(RECORD), "app", ["a=b"], "env") == "assignment-command"
    assert untagged_exec("auto", Known(RECORD, {}, says(True)), "app", ["a=b"], "env") == "assignment-command"
