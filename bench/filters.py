"""What deciding costs, whether a record is kept: sets of 20 rules over the records of a recorded session."""

import json
from collections.abc import Iterator

from bench.figures import Figure, at_most, cpu_us
from bench.pipeline import recorded
from exectrail.contracts.record import Record
from exectrail.filter.filters import Filters, load

_RULES = 20
_ROUNDS = 10


def figures() -> Iterator[Figure]:
    """One for each way to write rules, none of which matches: all of them are asked."""
    records = recorded()
    for name, rules in _SETS.items():
        filters = load(json.dumps(rules))
        if len(filters.rules) != _RULES or not all(filters.decide(record).keep for record in records):
            raise RuntimeError(f"the set {name!r} is not {_RULES} rules that match nothing")
        cost = cpu_us(lambda filters=filters: _decide(filters, records))  # type: ignore[misc] # bound at once
        yield at_most(3, f"filter-{name}", cost, "us", f"{_RULES} rules, a record of a recorded session")


def _decide(filters: Filters, records: list[Record]) -> int:
    for _ in range(_ROUNDS):
        for record in records:
            filters.decide(record)
    return _ROUNDS * len(records)


def _drop(number: int, **rule: object) -> dict[str, object]:
    return {"priority": number, "level": "None", **rule}


def _each(**rule: object) -> list[dict[str, object]]:
    """Twenty times a rule, each with a number in its texts."""
    return [_drop(number, **json.loads(json.dumps(rule).replace("%", str(number)))) for number in range(_RULES)]


_SETS: dict[str, list[dict[str, object]]] = {
    "by-user": _each(matchKeys=["user"], matchValues=["user-%"]),
    "by-namespace": _each(matchKeys=["resource/namespace"], matchValues=["kube-%"]),
    "by-namespace-glob": _each(match={"key": "resource/namespace", "glob": "kube-%*"}),
    "by-argument": _each(matchKeys=["argv"], matchValues=["--flag-%"]),
    "by-command-regex": _each(match={"key": "cmdLine", "regex": r"\bcurl-%.*sh"}),
    "mixed": [
        _drop(1, matchKeys=["origin"], matchValues=["probe", "hook"]),
        *(_drop(2, match={"key": "resource/namespace", "glob": f"kube-{number}*"}) for number in range(8)),
        *(_drop(3, matchKeys=["user"], matchValues=[f"robot-{number}"]) for number in range(3)),
        _drop(4, matchKeys=["uid", "gid"], matchValues=[70_000]),
        _drop(5, match={"all": [{"key": "kind", "equals": "exec"}, {"key": "uid", "greater": 70_000}]}),
        *(_drop(6, matchKeys=["program"], matchValues=[f"/opt/agent-{number}"]) for number in range(4)),
        _drop(7, match={"key": "cmdLine", "regex": r"\bpg_isready\b"}),
        _drop(8, match={"not": {"key": "version", "exists": True}}),
    ],
}
