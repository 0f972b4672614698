"""The iptables chains that kube-proxy, kubelet and the CNI plugins make, and how to take them away again."""

import re
from collections.abc import Collection

from .run import run

COMMANDS = ("iptables", "ip6tables")
# KUBE-*: kube-proxy and kubelet; CNI-*: the bridge and portmap plugins.
_OURS = re.compile(r"^:((?:KUBE|CNI)-\S+)")


def chains(command: str) -> set[str]:
    """Names of the chains of Kubernetes and CNI that exist now, as `table/chain`."""
    return parse_chains(run(f"{command}-save"))


def remove_chains(command: str, keep: Collection[str]) -> None:
    """Remove those chains and the rules that lead to them, but none of `keep`."""
    commands = removal(run(f"{command}-save"), keep)
    if commands:
        run(f"{command}-restore", "--noflush", stdin=commands)


def parse_chains(saved: str) -> set[str]:
    """The chains of Kubernetes and CNI in the output of iptables-save, as `table/chain`."""
    found, table = set(), ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif match := _OURS.match(line):
            found.add(f"{table}/{match[1]}")
    return found


def removal(saved: str, keep: Collection[str]) -> str:
    """The input for `iptables-restore --noflush` that removes what `saved` has and `keep` has not.

    Rules go before the chains they jump to, and all chains are emptied before the first is deleted.
    """
    remove = parse_chains(saved) - set(keep)
    commands: list[str] = []
    for table in dict.fromkeys(name.partition("/")[0] for name in sorted(remove)):
        names = sorted(name.partition("/")[2] for name in remove if name.startswith(f"{table}/"))
        commands += [f"*{table}"]
        commands += [f"-D {rule}" for rule in _rules_into(saved, table, names)]
        commands += [f"-F {name}" for name in names] + [f"-X {name}" for name in names]
        commands += ["COMMIT"]
    return "".join(f"{command}\n" for command in commands)


def _rules_into(saved: str, table: str, names: Collection[str]) -> list[str]:
    """The rules, without their `-A`, of other chains of `table` that jump to one of `names`."""
    section = saved.partition(f"*{table}\n")[2].partition("COMMIT")[0]
    rules = [line.removeprefix("-A ") for line in section.splitlines() if line.startswith("-A ")]
    return [rule for rule in rules if rule.split()[0] not in names and _target(rule) in names]


def _target(rule: str) -> str:
    match = re.search(r" -[jg] (\S+)", rule)
    return match[1] if match else ""
