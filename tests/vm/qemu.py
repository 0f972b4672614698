"""A machine's life: started, listened to, and judged."""

import json
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.cluster.node.run import say

from . import parts
from .inside.init import VERDICT
from .machines import Architecture, Machine

_MEMORY = "3072"  # MiB; half of it may be files, and these include the whole userland
_CPUS = "2"
_TESTS = ("tests/kernel", "tests/vm/inside")
# The limit of each test is there for tests that hang; here all are slow.
_TEST_SECONDS = 1200
_SUMMARY = re.compile(r"=+ ([^=]*\d+ [a-z]+[^=]*) in [\d.]+s.* =+")  # pytest's last line


@dataclass(frozen=True)
class _Kind:
    """What differs between architectures."""

    emulator: tuple[str, ...]
    console: str


_KINDS: dict[Architecture, _Kind] = {
    "amd64": _Kind(("qemu-system-x86_64", "-machine", "q35", "-cpu", "max"), "ttyS0"),
    # The standard's algorithm for signed pointers takes half of the time when emulated.
    "arm64": _Kind(("qemu-system-aarch64", "-machine", "virt", "-cpu", "max,pauth-impdef=on"), "ttyAMA0"),
}


@dataclass(frozen=True)
class Verdict:
    """How a machine's tests went; `wrong` is empty where all is well."""

    machine: Machine
    kernel: str
    counts: str
    wrong: str
    seconds: float

    def __str__(self) -> str:
        machine, minutes = self.machine, self.seconds / 60
        where = f"{machine.name:<22}{self.kernel:<26}{machine.cgroups:<8}"
        return f"{where}{self.wrong or 'ok':<12}{self.counts}; {minutes:.0f} minutes"


def try_out(machine: Machine, arguments: list[str]) -> Verdict:
    """Run the machine's tests in it; `arguments` are given to pytest instead of the folders with the tests."""
    say(f"{machine.name}: {machine.kernel} of {machine.suite}, cgroups {machine.cgroups}")
    for test, why in machine.left_out.items():
        say(f"  without {test}: {why}")
    kernel, userland = parts.kernel(machine), parts.userland(machine.architecture)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        initramfs = Path(temporary) / "initramfs"
        _write_initramfs(initramfs, userland, machine, arguments)
        heard = list(_listen(machine, kernel, initramfs))
    return _judge(machine, heard, time.monotonic() - began)


def _judge(machine: Machine, heard: list[str], seconds: float) -> Verdict:
    said = [json.loads(line.removeprefix(VERDICT)) for line in heard if line.startswith(VERDICT)]
    summaries = [match[1] for line in heard if (match := _SUMMARY.fullmatch(line))]
    if not said or not summaries:
        return Verdict(machine, "?", f"its last words: {' | '.join(heard[-3:])}", "NO VERDICT", seconds)
    wrong = "FAILED" if said[0]["code"] else ""
    # What is left out is left out by the table, with the reason.
    wrong = wrong or ("SKIPPED" if "skipped" in summaries[-1] else "")
    return Verdict(machine, said[0]["kernel"], summaries[-1], wrong, seconds)


def _write_initramfs(file: Path, userland: Path, machine: Machine, arguments: list[str]) -> None:
    flags = ["-v", "--color=no", "-p", "no:cacheprovider", "--durations=10", f"--timeout={_TEST_SECONDS}"]
    flags += [("--deselect=" if "::" in name else "--ignore=") + name for name in machine.left_out]
    settings = asdict(machine) | {"pytest": [*flags, *(arguments or _TESTS)]}
    repository = file.with_suffix(".repository")
    parts.repository(repository, json.dumps(settings))
    with file.open("wb") as whole:  # the kernel unpacks one archive after the other
        for archive in (userland, repository):
            with archive.open("rb") as part:
                shutil.copyfileobj(part, whole)


def _listen(machine: Machine, kernel: Path, initramfs: Path) -> Iterator[str]:
    """The lines of the machine's console, which are shown as well, until it is off or its time is over."""
    kind = _KINDS[machine.architecture]
    accelerator = "kvm" if machine.architecture == "amd64" and _has_hardware_for_it() else "tcg,thread=multi"
    command: list[str | Path] = [
        *kind.emulator, "-accel", accelerator, "-smp", _CPUS, "-m", _MEMORY, "-kernel", kernel, "-initrd", initramfs,
        "-append", f"console={kind.console} panic=-1 loglevel=4", "-no-reboot",
        "-display", "none", "-monitor", "none", "-serial", "stdio", "-nic", "none",
    ]  # fmt: skip
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace"
    ) as emulator:
        deadline = threading.Timer(machine.minutes * 60, emulator.kill)
        deadline.start()
        try:
            for line in emulator.stdout or ():
                print(line.rstrip(), flush=True)
                yield line.rstrip()
        finally:
            deadline.cancel()
            emulator.kill()


def _has_hardware_for_it() -> bool:
    """Whether this CPU can run another x86_64. There may be a /dev/kvm where it cannot: that runs few kernels."""
    flags = Path("/proc/cpuinfo").read_text().split()
    return Path("/dev/kvm").exists() and ("vmx" in flags or "svm" in flags)
