"""Makes the built-in profiles from RuntimeDefault: `python -m profiles.builtin.generate` writes them beside this file.

Run it after a change of `exectrail/seccomp/runtime_default.json` or of the variants, and commit what it writes.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap

import msgspec
from msgspec.structs import replace

from exectrail.contracts.profile import UNCONFINED_BUILT_IN, VARIANTS
from exectrail.seccomp.overlap import Conditions
from exectrail.seccomp.profile import Arg, Profile, Rule
from exectrail.seccomp.rules import ALLOW, LOG, Decision, Outcome, decisions
from exectrail.seccomp.runtime_default import runtime_default
from exectrail.seccomp.runtime_file import runtime_file
from exectrail.seccomp.written import written

FOLDER = Path(__file__).parent
_CLONE_THREAD = 0x10000
_PROGRAMS = ("execve", "execveat")
_PROCESSES = ("fork", "vfork")  # clone and clone3 as well, which also make threads
_WIDTH = 118
_FEW = 10  # names that share a line with the rest of their rule


def process_audit(capabilities: frozenset[str]) -> Profile:
    """RuntimeDefault of a container with these capabilities, where new programs and processes are logged."""
    allowed = runtime_default(capabilities)
    decided = decisions(allowed)
    decided |= dict.fromkeys((*_PROGRAMS, *_PROCESSES), Decision(LOG))
    decided["clone"] = Decision(when=_clone(decided["clone"]))
    if decided["clone3"].always == ALLOW:
        decided["clone3"] = Decision(LOG)  # its flags are behind a pointer, so threads are logged, too
    return written(allowed, decided)


def process_audit_only() -> Profile:
    """Everything allowed, new programs and processes logged."""
    rules = [
        Rule([*_PROGRAMS, *_PROCESSES, "clone3"], LOG.action),
        Rule(["clone"], LOG.action, args=[_flags(_CLONE_THREAD, 0)]),
    ]
    return replace(runtime_default(), default_action=ALLOW.action, syscalls=rules)


def files() -> Iterator[tuple[str, str]]:
    """The name and the content of each file."""
    for name, capabilities in VARIANTS.items():
        yield f"{name}.json", _readable(runtime_file(process_audit(capabilities)))
    for name in UNCONFINED_BUILT_IN:
        yield f"{name}.json", _readable(runtime_file(process_audit_only()))


def main() -> int:
    """Write the files, and remove those of variants that are no more."""
    made = dict(files())
    for path in FOLDER.glob("*.json"):
        if path.name not in made:
            path.unlink()
    for name, content in made.items():
        (FOLDER / name).write_text(content)
    return 0


def _clone(decision: Decision) -> dict[Conditions, Outcome]:
    """Log where clone makes a process, allow where it makes a thread, and leave what else it asks of the flags."""
    # libseccomp takes one condition for an argument: both questions share a mask.
    mask = _CLONE_THREAD | sum(arg.value for (arg,) in decision.when)
    return {(_flags(mask, 0),): LOG, (_flags(mask, _CLONE_THREAD),): ALLOW}


def _flags(mask: int, value: int) -> Arg:
    return Arg(0, "SCMP_CMP_MASKED_EQ", mask, value)


def _readable(content: bytes) -> str:
    """The same document, with a line for each rule."""
    document = msgspec.json.decode(content)
    rules = ",\n".join(map(_line, document.pop("syscalls")))
    head = ",\n".join(f'  "{key}": {_json(value)}' for key, value in document.items())
    return f'{{\n{head},\n  "syscalls": [\n{rules}\n  ]\n}}\n'


def _line(rule: dict[str, object]) -> str:
    line = f"    {_json(rule)}"
    names = rule.pop("names")
    if not isinstance(names, list) or len(names) < _FEW:
        return line
    lines = "\n".join(wrap(", ".join(map(_json, names)), _WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 8))
    return f'    {{\n      "names": [\n{lines}\n      ],\n      {_json(rule)[1:-1]}\n    }}'


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=0).decode()


if __name__ == "__main__":
    sys.exit(main())
