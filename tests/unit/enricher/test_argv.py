"""Arguments as the kernel shows them, and as they were asked for."""

import pytest

from enricher.argv import as_sent


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
    assert argv(*asked) in as_sent(argv(*seen), filename.encode(), b"/usr/bin/dash", b"/app")


def test_a_script_in_any_folder_is_not_one_of_its_name_that_a_runtime_finds() -> None:
    """Anyone who may write into a container could pass for its probe."""
    asked = as_sent(argv("/bin/sh", "/tmp/check.sh", "-q"), b"/tmp/check.sh", b"/usr/bin/dash", b"/")

    assert argv("check.sh", "-q") not in asked
    assert argv("/tmp/check.sh", "-q") in asked


def test_what_a_sensor_takes_for_the_program_from_proc_is_no_script() -> None:
    """It has the file that runs, whose path a user can put among the arguments."""
    seen = argv("/bin/bash", "-c", "evil", "/usr/bin/bash", "-c", "check")

    assert as_sent(seen, b"/usr/bin/bash", b"/usr/bin/bash", b"/") == (seen,)


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
    assert as_sent(seen, filename.encode(), b"/usr/bin/dash", b"/") == (seen,)


def test_of_a_script_whose_arguments_were_cut_the_rest_is_as_it_was() -> None:
    seen = argv("/bin/sh", "/check.sh", "a") + b"bbb"

    assert argv("/check.sh", "a") + b"bbb" in as_sent(seen, b"/check.sh", b"/usr/bin/dash", b"/")
