"""eBPF and the kernel's SECCOMP records together: each call is one line, whoever's profile has it logged."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from enricher.containers.pods import Container, PodSpec, SeccompProfile, SecurityContext
from tests.kernel.fake_node import FakeNode, fake_node

ID = "a1" * 32
PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")
BY_A_THREAD = (
    "import os, threading, time\n"
    "threading.Thread(target=os.execv, args=('/bin/true', ['true', 'end'])).start(); time.sleep(9)"
)
FAILS = "import os\ntry: os.execv('/nothing', ['nothing'])\nexcept OSError: os.execv('/bin/true', ['true', 'end'])"


def with_profile(path: str) -> PodSpec:
    profile = SeccompProfile(type="Localhost", localhost_profile=path)
    return PodSpec(containers=[Container("app", "shop:1", security_context=SecurityContext(profile))])


@contextmanager
def running(spec: PodSpec) -> Iterator[FakeNode]:
    """A node whose programs run with the built-in profile, whatever the pod's spec calls it."""
    with fake_node(io.BytesIO(), profiled=True) as node:
        node.namespace("shop", record="true")
        node.pod(spec, app=ID)
        yield node


def calls(node: FakeNode) -> list[tuple[str, str | None, list[str] | None]]:
    """Execs, and logged calls that are half of none."""
    return [(each.kind, each.source, each.syscalls) for each in node.records if each.kind in ("exec", "syscall")]


@pytest.mark.parametrize("code", [BY_A_THREAD, FAILS], ids=["from a second thread", "after one that failed"])
def test_an_exec_is_one_line(code: str) -> None:
    with running(with_profile("exectrail/process-audit.json")) as node:
        node.run(node.container(ID), *PYTHON, code)
        node.turn(1.2)

        found = calls(node)
        assert found
        assert [each for each in found if each[:2] != ("exec", "bpf+netlink")] == []
        assert node.missing_in_the_equation() == 0


def test_with_a_profile_of_the_pods_own_an_exec_is_one_line_too() -> None:
    with running(with_profile("operator/my-own.json")) as node:
        cgroup = node.container(ID)
        node.start(cgroup, "sleep", "600")
        node.turn(1.2)
        for _ in range(20):
            node.run(cgroup, "true")
        node.turn(1.2)

        joined = [each for each in calls(node) if each == ("exec", "bpf+netlink", ["execve"])]
        # The first few can be told before it is known that they have another half.
        assert len(joined) >= 20
        assert node.missing_in_the_equation() == 0
