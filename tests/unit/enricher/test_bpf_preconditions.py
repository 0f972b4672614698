from pathlib import Path

import pytest

from enricher.sensors.bpf import libbpf, preconditions
from enricher.sensors.bpf.preconditions import missing_capabilities
from enricher.sensors.unavailable import SensorUnavailable

BPF, PERFMON, SYS_ADMIN, CHOWN = 1 << 39, 1 << 38, 1 << 21, 1


def status(capabilities: int) -> str:
    return f"Name:\tpython\nCapPrm:\tffffffffffffffff\nCapEff:\t{capabilities:016x}\nCapBnd:\tffffffffffffffff\n"


class Host:
    """Files that stand for a node which offers everything."""

    def __init__(self, folder: Path) -> None:
        self.object, self.btf, self.status = folder / "sensor.bpf.o", folder / "vmlinux", folder / "status"
        self.object.touch()
        self.btf.touch()
        self.status.write_text(status(BPF | PERFMON))

    def check(self) -> None:
        preconditions.check(self.object, self.btf, self.status)

    def reason(self) -> str:
        with pytest.raises(SensorUnavailable) as caught:
            self.check()
        return str(caught.value)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.mark.parametrize(
    ("capabilities", "missing"),
    [
        (BPF | PERFMON, []),
        (SYS_ADMIN, []),
        (PERFMON, ["CAP_BPF"]),
        (BPF | CHOWN, ["CAP_PERFMON"]),
        (CHOWN, ["CAP_PERFMON", "CAP_BPF"]),
        (0, ["CAP_PERFMON", "CAP_BPF"]),
    ],
)
def test_missing_capabilities_are_named(capabilities: int, missing: list[str]) -> None:
    assert missing_capabilities(status(capabilities)) == missing


def test_a_node_that_offers_everything_passes(host: Host) -> None:
    host.check()


def test_a_missing_object_file_is_named_with_the_remedy(host: Host) -> None:
    host.object.unlink()

    assert host.reason() == f"{host.object} is missing: compile it with `make -C {host.object.parent}`"


def test_a_kernel_without_btf_is_named(host: Host) -> None:
    host.btf.unlink()

    assert host.reason() == f"the kernel has no BTF at {host.btf} (it needs CONFIG_DEBUG_INFO_BTF)"


def test_missing_capabilities_are_a_reason(host: Host) -> None:
    host.status.write_text(status(CHOWN))

    assert host.reason() == "missing CAP_PERFMON and CAP_BPF in the container's securityContext.capabilities"


@pytest.mark.parametrize(
    ("release", "added"),
    [
        ("6.18.44-fc", ""),
        ("5.11.0", ""),
        ("5.10.0-32-amd64", "; this is Linux 5.10.0-32-amd64, and it takes 5.11 or newer"),
        ("4.18.0-553.el8.x86_64", "; this is Linux 4.18.0-553.el8.x86_64, and it takes 5.11 or newer"),
        ("of its own kind", ""),
    ],
)
def test_where_the_program_is_refused_an_old_kernel_is_named(release: str, added: str) -> None:
    assert preconditions.age(release) == added


def test_a_missing_libbpf_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libbpf, "LIBRARY", "libbpf-absent.so.1")

    with pytest.raises(SensorUnavailable, match=r"libbpf not found \(libbpf-absent\.so\.1: .*package libbpf1"):
        libbpf.Library()
