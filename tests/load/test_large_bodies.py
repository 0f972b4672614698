"""No body that is read at all takes much memory or time, and whatever is in it there is a session."""

import json
import re
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from prometheus_client import REGISTRY

from exectrail.contracts.command_hash import command_hash
from exectrail.contracts.session import AuditSession
from webhook.app import Decide, Webhook, respond
from webhook.reviews.json_value import BadReview
from webhook.reviews.review import MAX_BYTES
from webhook.reviews.session_spec import Rules

Load = Callable[..., dict[str, Any]]
PatchOf = Callable[[dict[str, Any]], list[Any]]

EXTRA_MEMORY = 25 << 20
SECONDS = 0.3
"""Of processor time. Alone on its processor it is about a third of that at most."""

SLOT = "@slot@"
EMOJI = "\U0001f600".encode()
"""With it, each character of a Python string takes four bytes."""


def padded(review: dict[str, Any], value: bytes, more: bytes) -> bytes:
    """A review with a value in its slot; `more` fills the value up to the largest body."""
    body = json.dumps(review).encode()
    head, slot, tail = body.partition(json.dumps(SLOT).encode())
    assert slot
    first, _, last = value.partition(b"@")
    room = MAX_BYTES - len(head) - len(tail) - len(first) - len(last)
    return head + first + more * (room // len(more)) + last + tail


TEXTS = {
    "text": (b'"' + EMOJI + b'@"', b"x"),
    "depth": (b"[@]", b"["),
}
MEMBERS = {
    "members": (b'{"a":[]@}', b',"b":[]'),
    "objects": (b"[{}@]", b",{}"),
}
WORDS = {
    "words": (b'["x"@]', b',"y"'),
    "empty words": (b'["x"@]', b',""'),
    "one word": (b'["' + EMOJI + b'@"]', b"x"),
    "one word of escapes": (b'["' + EMOJI + b'@"]', b"\\u0001"),
    "one word of quotes": (b'["' + EMOJI + b'@"]', b'\\"'),
    "one word of backslashes": (b'["' + EMOJI + b'@"]', b"\\\\"),
}
OBJECTS = {
    "objects": (b"[{}@]", b",{}"),
    "named objects": (b'[{"name":"a"}@]', b',{"name":"a"}'),
    "long commands": (b'[{"name":"a"}@]', b',{"name":"b","args":["x"' + b',"y"' * 4000 + b"]}"),
    "long commands of few": (b'[{"name":"a"}@]', b',{"name":"b","args":["x"' + b',"y"' * 16000 + b"]}"),
    "short commands": (b'[{"name":"a"}@]', b',{"name":"b","command":["x"' + b',"y"' * 700 + b"]}"),
    "long names": (b'[{"name":"a"}@]', b',{"name":"' + EMOJI + b"x" * 250 + b'"}'),
}


def cases() -> Iterator[tuple[str, str, bytes, bytes]]:
    for fills, name, prefix, members in (
        (TEXTS, "exec-sh", "", "kind apiVersion request"),
        (TEXTS, "exec-sh", "request.", "uid name operation subResource kind kind.kind dryRun object options"),
        (TEXTS, "exec-sh", "request.userInfo.", "username uid groups extra"),
        (TEXTS, "exec-sh", "request.object.", "container command tty"),
        (TEXTS, "pod-node-debug", "request.object.", "metadata.labels metadata.generateName spec.nodeName"),
        (TEXTS, "ephemeralcontainers", "request.object.spec.ephemeralContainers.", "1.name 1.command"),
        (TEXTS, "pod-create", "request.object.", "metadata spec.os.name spec.securityContext"),
        (MEMBERS, "exec-sh", "request.", "kind userInfo userInfo.extra object"),
        (MEMBERS, "pod-node-debug", "request.object.", "metadata metadata.labels spec"),
        (MEMBERS, "pod-create", "request.object.", "metadata.annotations spec.securityContext"),
        (WORDS, "exec-sh", "request.", "userInfo.groups userInfo.extra.sessionName object.command"),
        (WORDS, "ephemeralcontainers", "request.object.spec.ephemeralContainers.", "1.args"),
        (WORDS, "pod-create", "request.object.spec.containers.0.securityContext.capabilities.", "add"),
        (OBJECTS, "ephemeralcontainers", "request.", "oldObject.spec.ephemeralContainers"),
        (OBJECTS, "ephemeralcontainers", "request.object.spec.", "ephemeralContainers ephemeralContainers.1.env"),
        (OBJECTS, "pod-node-debug", "request.object.spec.", "containers initContainers"),
        (OBJECTS, "pod-create", "request.object.spec.", "containers initContainers"),
    ):
        for member in members.split():
            for first, more in fills.values():
                yield name, prefix + member, first, more


def set_at(review: Any, path: str, value: object) -> None:
    *parents, last = path.split(".")
    for key in parents:
        review = review[int(key)] if isinstance(review, list) else review.setdefault(key, {})
    review[last] = value


@pytest.mark.parametrize(("name", "path", "first", "more"), list(cases()))
def test_no_body_takes_much_memory_or_time(
    review: Load, webhook: Webhook, name: str, path: str, first: bytes, more: bytes
) -> None:
    asked = review(name)
    set_at(asked, path, SLOT)
    body = padded(asked, first, more)

    seconds, memory = measured(webhook.bind if name == "pod-create" else webhook.tag, body)

    assert seconds < SECONDS
    assert memory < EXTRA_MEMORY


def measured(decide: Decide, body: bytes) -> tuple[float, int]:
    """Processor time of an answer, and the bytes that it takes beyond its body."""
    seconds = timed(decide, body)
    if seconds >= SECONDS:  # another process may have had the caches
        seconds = timed(decide, body)
    tracemalloc.start()
    try:
        answered(decide, body)
        return seconds, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def timed(decide: Decide, body: bytes) -> float:
    began = time.process_time()
    answered(decide, body)
    return time.process_time() - began


def answered(decide: Decide, body: bytes) -> dict[str, Any]:
    """The response; none where the body was refused."""
    try:
        response: dict[str, Any] = json.loads(respond("large", decide, body))["response"]
    except BadReview:
        return {}
    assert not REGISTRY.get_sample_value("exectrail_webhook_errors_total", {"webhook": "large"})
    return response


def through_a_url(*words: str) -> bool:
    """Whether the API server takes an exec of these words: Go's net/http bounds a request's head to 1 MiB."""
    return sum(len("&command=") + len(quote(word, safe=',{}[]"<>&\\')) for word in words) <= (1 << 20)


@pytest.mark.parametrize(
    "command",
    [
        ["sh", *["x"] * 104_000],
        ["sh", *[""] * 116_000],
        ["sh", *["\u00e9"] * 69_000],
        ["sh", "-c", "x" * 1_048_000],
        ["sh", "-c", "<" * 1_048_000],
        ["sh", "-c", '"' * 1_048_000],
        ["sh", "-c", "\\" * 1_048_000],
        ["sh", "-c", ',"' * 524_000],
        ["sh", "-c", "\x01" * 349_000],
        ["sh", "-c", "\U0001f600" * 87_000],
    ],
    ids=["words", "empty", "utf-8", "x", "<", "quotes", "backslashes", "commas", "control", "emoji"],
)
def test_an_exec_that_comes_through_the_api_server_is_tagged_and_hashed_whole(
    review: Load, webhook: Webhook, sessions: list[AuditSession], patch_of: PatchOf, rules: Rules, command: list[str]
) -> None:
    assert through_a_url(*command)
    # As Go's encoding/json writes it.
    data = json.dumps(review("exec-sh", {"command": command}), ensure_ascii=False, separators=(",", ":"))
    body = data.replace("<", "\\u003c").encode()
    assert rules.command_key is not None

    seconds, memory = measured(webhook.tag, body)
    sessions.clear()
    response = answered(webhook.tag, body)

    assert (seconds < SECONDS, memory < EXTRA_MEMORY) == (True, True)
    assert [step["path"] for step in patch_of({"response": response})] == ["/command/0"] * 2
    (session,) = sessions
    assert session.spec.command_hash == command_hash(rules.command_key, [word.encode() for word in command])
    assert "[cut: " in session.spec.command[-1]


@pytest.mark.parametrize(("first", "more"), [(b'["sh","@"]', b"x"), (b'["sh"@]', b',"x"')], ids=["long", "many"])
def test_an_exec_that_is_too_large_for_the_api_server_passes_with_a_warning_and_has_a_session(
    review: Load, webhook: Webhook, sessions: list[AuditSession], first: bytes, more: bytes
) -> None:
    body = padded(review("exec-sh", {"command": SLOT}), first, more)

    response = answered(webhook.tag, body)

    assert response["allowed"]
    assert "patch" not in response
    (warning,) = response["warnings"]
    assert warning.endswith("its process carries no tag: there is more in it than is read of a request")
    (session,) = sessions
    assert response["auditAnnotations"] == {"SPO_EXEC_REQUEST_UID": session.metadata.name}
    assert (session.spec.user.username, session.spec.verb) == ("alice@example.com", "exec")
    assert (session.spec.target.namespace, session.spec.target.pod, session.spec.target.container) == (
        "default",
        "web",
        "c",
    )
    assert (session.spec.tag, session.spec.command_hash, session.spec.recorded) == ("none", "", True)
    (word,) = session.spec.command
    assert re.fullmatch(r"\[cut: 8\d{6} bytes in \d+ words\]", word)


@pytest.mark.parametrize(
    ("name", "path", "first", "more", "container"),
    [
        ("ephemeralcontainers", "spec.ephemeralContainers", b'[{"name":"a"}@]', b',{"name":"b"}', ""),
        ("ephemeralcontainers", "spec.ephemeralContainers.1.env", b"[{}@]", b",{}", "dbg2"),
        ("pod-node-debug", "spec.containers", b'[{"name":"a"}@]', b',{"name":"b"}', ""),
        ("pod-node-debug", "spec.initContainers", b'[{"name":"a"}@]', b',{"name":"b"}', ""),
    ],
)
def test_a_pod_with_more_in_it_than_is_read_passes_with_a_warning_and_has_a_session(
    review: Load,
    webhook: Webhook,
    sessions: list[AuditSession],
    name: str,
    path: str,
    first: bytes,
    more: bytes,
    container: str,
) -> None:
    asked = review(name)
    set_at(asked["request"]["object"], path, SLOT)

    response = answered(webhook.tag, padded(asked, first, more))

    assert "patch" not in response
    assert "there is more in it than is read of a request" in response["warnings"][0]
    assert [(each.metadata.name, each.spec.verb, each.spec.target.container) for each in sessions] == [
        (asked["request"]["uid"], "debug", container)
    ]
