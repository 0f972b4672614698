"""Seccomp profiles given on the command line: manifests of SeccompProfiles, and files that a runtime reads."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from exectrail.contracts import spo
from exectrail.reading.shell import visible
from exectrail.seccomp.profile import (
    RUNTIME_FIELDS,
    SPEC_FIELDS,
    Arg,
    Profile,
    ProfileError,
    Rule,
    decode,
    decode_spec,
)

_INSTALL = "install the package PyYAML (pip install pyyaml), or give JSON"


@dataclass(frozen=True)
class Found:
    """A profile and where it stands; `not_read` are fields of it that mean nothing to exectrail or the runtime."""

    name: str
    where: str
    profile: Profile
    not_read: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Mistake:
    """A file or a document that is no profile, and what to do."""

    where: str
    message: str


class _NoProfile(Exception):
    """Says why, and what to do."""


def read(names: list[str]) -> tuple[list[Found], list[Mistake]]:
    """All profiles in the files (`-` is standard input), and what could not be read."""
    found: dict[str, Found] = {}
    mistakes: list[Mistake] = []
    for each in (one for name in names for one in _of_file(name)):
        if isinstance(each, Mistake):
            mistakes.append(each)
        elif other := found.get(each.name):
            mistakes.append(Mistake(each.where, f"metadata.name: {other.where} has it as well; give one of them"))
        else:
            found[each.name] = each
    return list(found.values()), mistakes


def _of_file(name: str) -> Iterator[Found | Mistake]:
    shown = "standard input" if name == "-" else visible(name)
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        documents = _documents(data)
    except OSError as error:
        yield Mistake(shown, f"{error.strerror or error}; give a file that can be read")
        return
    except _NoProfile as error:
        yield Mistake(shown, visible(str(error)))
        return
    made = [each for document in documents for each in _profiles(document, Path(name).stem, shown)]
    yield from made or [Mistake(shown, "no SeccompProfile in it; give a manifest, or a container runtime's file")]


def _documents(data: bytes) -> list[Any]:
    """The documents of a file: JSON, or else YAML."""
    try:
        return [msgspec.json.decode(data)]
    except (msgspec.DecodeError, RecursionError) as error:
        not_json = str(error) if data.lstrip()[:1] in {b"{", b"["} else ""
    try:
        import yaml  # noqa: PLC0415 - only for those who have YAML
    except ImportError:
        raise _NoProfile(f"not JSON: {not_json}; correct it" if not_json else f"YAML: {_INSTALL}") from None
    try:
        return [document for document in yaml.safe_load_all(data) if document is not None]
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise _NoProfile(f"neither JSON nor YAML: {line}{error.problem}; correct it there") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise _NoProfile(f"neither JSON nor YAML: {str(error).partition(chr(10))[0]}; correct it") from error


def _profiles(document: Any, stem: str, file: str) -> Iterator[Found | Mistake]:  # noqa: ANN401 - any JSON
    """The profiles in a document: of a manifest, or a runtime's file, which has the file's name without its ending."""
    if not isinstance(document, dict):
        yield Mistake(file, f"{_shown(document)} is no profile; give an object with kind or defaultAction")
    elif isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _profiles(item, stem, file)
    elif "kind" not in document and "defaultAction" in document:
        yield _found(stem, file, document, decode)
    elif "kind" not in document:
        yield Mistake(file, "neither kind nor defaultAction; give a SeccompProfile or a container runtime's file")
    elif document["kind"] == "SeccompProfile" and str(document.get("apiVersion")).startswith(f"{spo.GROUP}/"):
        metadata = document.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        if isinstance(name, str) and name:
            yield _found(name, f"{file}: {visible(name)}", document.get("spec", {}), decode_spec)
        else:
            yield Mistake(file, f"metadata.name {_shown(name)}: a SeccompProfile needs one; give it a name")


def _found(name: str, where: str, spec: Any, read_as: Callable[[bytes], Profile]) -> Found | Mistake:  # noqa: ANN401 - any JSON
    fields = SPEC_FIELDS if read_as is decode_spec else RUNTIME_FIELDS
    try:
        return Found(name, where, read_as(msgspec.json.encode(spec)), list(_not_read(spec, fields)))
    except ProfileError as error:
        return Mistake(where, visible(str(error)))
    except (TypeError, ValueError, RecursionError) as error:  # YAML knows more than JSON
        return Mistake(where, f"{visible(str(error))}; write what JSON can say")


def _not_read(spec: dict[str, Any], fields: frozenset[str]) -> Iterator[str]:
    yield from sorted(spec.keys() - fields)
    for number, rule in enumerate(spec.get("syscalls", [])):
        yield from (f"syscalls[{number}].{each}" for each in sorted(rule.keys() - set(Rule.__struct_encode_fields__)))
        for at, arg in enumerate(rule.get("args", [])):
            unread = sorted(arg.keys() - set(Arg.__struct_encode_fields__))
            yield from (f"syscalls[{number}].args[{at}].{each}" for each in unread)


def _shown(value: object) -> str:
    return visible(f"{value!r:.60}")
