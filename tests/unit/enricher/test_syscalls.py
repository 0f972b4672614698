import pytest

from enricher import syscalls
from enricher.syscalls import AARCH64, ARM, I386, X86_64


@pytest.mark.parametrize(
    ("arch", "number", "name"),
    [
        (X86_64, 0, "read"),
        (X86_64, 56, "clone"),
        (X86_64, 59, "execve"),
        (X86_64, 231, "exit_group"),
        (X86_64, 322, "execveat"),
        (X86_64, 424, "pidfd_send_signal"),
        (X86_64, 435, "clone3"),
        (I386, 11, "execve"),
        (I386, 120, "clone"),
        (I386, 358, "execveat"),
        (I386, 435, "clone3"),
        (AARCH64, 220, "clone"),
        (AARCH64, 221, "execve"),
        (AARCH64, 281, "execveat"),
        (AARCH64, 435, "clone3"),
        (ARM, 11, "execve"),
        (ARM, 387, "execveat"),
        (ARM, 435, "clone3"),
        (ARM, 983045, "set_tls"),
    ],
)
def test_a_number_has_the_name_that_it_has_on_its_architecture(arch: int, number: int, name: str) -> None:
    assert syscalls.name(arch, number) == name


@pytest.mark.parametrize(("number", "name"), [(0x40000000 + 1, "write"), (0x40000000 + 520, "execve")])
def test_an_x32_call_has_its_name_too(number: int, name: str) -> None:
    assert syscalls.name(X86_64, number) == name


@pytest.mark.parametrize(
    ("arch", "number"), [(X86_64, 400), (X86_64, -1), (X86_64, 10**18), (AARCH64, 42), (I386, 10_000), (0xC0000015, 11)]
)
def test_an_unknown_call_keeps_its_number(arch: int, number: int) -> None:
    assert syscalls.name(arch, number) == f"syscall_{number}"


@pytest.mark.parametrize(
    ("code", "action"),
    [
        (0x7FFC0000, "log"),
        (0x80000000, "kill_process"),
        (0x00000000, "kill_thread"),
        (0x00030000, "trap"),
        (0x00050026, "errno"),
        (0x7FC00000, "user_notif"),
        (0x7FF00001, "trace"),
        (0x7FFF0000, "allow"),
        (0x00010000, "0x00010000"),
    ],
)
def test_a_code_says_what_the_filter_decided(code: int, action: str) -> None:
    assert syscalls.action(code) == action
