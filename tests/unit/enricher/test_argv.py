"""Arguments as the kernel shows them, and as they were asked for."""

import pytest

from enricher.argv import as_asked


def argv(*words: str) -> bytes:
    return b"".join(word.encode() + b"\0" for word in words)


@pytest.mark.parametrize(
    ("filename", "seen", "asked"),
    [
        ("/check.sh", ("/bin/sh", "/check.sh", "-q"), ("/check.sh", "-q")),
        ("./check.sh", ("/bin/sh", "./check.sh"), ("./check.sh",)),
        ("/app/./check.sh", ("/bin/sh", "/app/./check.sh"), ("./check.sh",)),
        ("/usr/bin/check.sh", ("/bin/sh", "/usr/bin/check.sh", "-q"), ("check.sh", "-q")),
        ("/check.py", ("/usr/bin/env", "-S python3 -u", "/check.py", "-q"), ("/check.py", "-q")),
        ("/check", ("/bin/sh", "-e", "/bin/run", "-x", "/check", "/check"), ("/check", "/check")),
    ],
    ids=[
        "by its path",
        "by a relative path",
        "by one with crun",
        "by its name",
        "whose interpreter has an argument",
        "nested",
    ],
)
def test_a_script_was_asked_for_without_its_interpreter(
    filename: str, seen: tuple[str, ...], asked: tuple[str, ...]
) -> None:
    assert argv(*asked) in as_asked(argv(*seen), filename.encode(), b"/app")


@pytest.mark.parametrize(
    ("filename", "seen"),
    [
        ("/bin/sh", argv("sh", "-c", "id")),
        ("/bin/sh", argv("sh", "/bin/sh", "-c", "id")),
        ("/bin/sh", argv("/bin/sh", "/bin/sh", "-c", "id")),
        ("", argv("sh", "", "id")),
        ("/check.sh", argv("/bin/sh") + b"/check.sh"),
        ("/check.sh", b""),
    ],
    ids=["usual", "that has itself as an argument", "twice by its path", "unknown", "cut", "without arguments"],
)
def test_a_program_was_asked_for_as_it_is_seen(filename: str, seen: bytes) -> None:
    assert as_asked(seen, filename.encode()) == (seen,)


def test_of_a_script_whose_arguments_were_cut_the_rest_is_as_it_was() -> None:
    assert argv("/check.sh", "a") + b"bbb" in as_asked(argv("/bin/sh", "/check.sh", "a") + b"bbb", b"/check.sh")
