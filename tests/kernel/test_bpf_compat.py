"""32-bit programs, where the machine runs them; where it does not, their failure is told."""

import errno
import platform
import struct
from pathlib import Path

import pytest

from enricher.events import ExecEvent, ExecFailedEvent, ExitEvent
from tests.kernel.conftest import Drain
from tests.kernel.fake_pods import FakeContainer

RUNS_I386 = platform.machine() == "x86_64"

BASE = 0x08048000
HEADERS = 52 + 32


def i386_program(executes: bytes) -> bytes:
    """An ELF file that calls execve(executes, [executes, "one"]) and, should that fail, exit(7)."""
    # mov eax, 11 (execve); mov ebx, path; mov ecx, argv; xor edx, edx; int 0x80
    # mov eax, 1 (exit); mov ebx, 7; int 0x80
    code_size = 5 + 5 + 5 + 2 + 2 + 5 + 5 + 2
    path = BASE + HEADERS + code_size
    one = path + len(executes) + 1
    argv = one + len(b"one\0")
    code = struct.pack("<BIBIBI", 0xB8, 11, 0xBB, path, 0xB9, argv) + b"\x31\xd2\xcd\x80"
    code += struct.pack("<BIBI", 0xB8, 1, 0xBB, 7) + b"\xcd\x80"
    body = code + executes + b"\0one\0" + struct.pack("<III", path, one, 0)
    size = HEADERS + len(body)
    ident = b"\x7fELF\x01\x01\x01" + bytes(9)
    elf = ident + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, BASE + HEADERS, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    return elf + struct.pack("<IIIIIIII", 1, 0, BASE, BASE, size, size, 5, 0x1000) + body


@pytest.fixture
def i386(tmp_path: Path) -> Path:
    program = tmp_path / "i386"
    program.write_bytes(i386_program(b"/bin/true"))
    program.chmod(0o755)
    return program


def test_a_32_bit_program_and_what_it_runs_are_told(container: FakeContainer, drain: Drain, i386: Path) -> None:
    container.run(i386, "argument")

    events = drain()
    if not RUNS_I386:
        assert [event.errno for event in events if isinstance(event, ExecFailedEvent)] == [errno.ENOEXEC]
        return
    first, second = [event for event in events if isinstance(event, ExecEvent)]
    assert (first.path, first.argv) == (bytes(i386), bytes(i386) + b"\0argument\0")
    assert (second.filename, second.argv) == (b"/bin/true", b"/bin/true\0one\0")


def test_what_a_32_bit_program_fails_to_run_is_not_told(container: FakeContainer, drain: Drain, i386: Path) -> None:
    i386.write_bytes(i386_program(b"/nonexistent"))
    container.run(i386)

    events = drain()
    failed = [event.errno for event in events if isinstance(event, ExecFailedEvent)]
    assert failed == ([] if RUNS_I386 else [errno.ENOEXEC])
    assert isinstance(events[-1], ExitEvent)
    assert events[-1].code == (7 if RUNS_I386 else 126)
