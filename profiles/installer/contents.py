"""What a SeccompProfile's file is to hold: with its bases, checked against what is allowed, in the runtime's form."""

import logging
from collections.abc import Callable, Mapping
from hashlib import sha256

import msgspec
from msgspec import Struct
from msgspec.structs import force_setattr, replace

from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.unreadable import UNREADABLE
from exectrail.seccomp.allowed import check
from exectrail.seccomp.merge import resolve
from exectrail.seccomp.profile import Profile, ProfileError, decode_spec
from exectrail.seccomp.runtime_file import runtime_file
from exectrail.seccomp.withheld import Switch, withheld
from profiles.installer.plan import Problem, Wanted

log = logging.getLogger(__name__)


class SeccompProfile(Struct, frozen=True):
    """The Security Profiles Operator's object. Its spec is decoded later, so that a broken one is still known."""

    metadata: ObjectMeta
    spec: msgspec.Raw = msgspec.Raw(b"{}")

    def __post_init__(self) -> None:
        # As it comes, it would keep the whole page of the list in memory.
        force_setattr(self, "spec", self.spec.copy())


class Allowed(Struct, frozen=True):
    """What users' profiles may allow, as the Security Profiles Operator has it."""

    syscalls: tuple[str, ...] = ()
    """Empty for all."""
    actions: tuple[str, ...] = ()
    """The actions that are allowed, and that this is about; the operator's own where empty."""


class Contents:
    """Makes the content of files, and remembers what it was until the profile or one of its bases changes.

    Args:
        objects: All SeccompProfiles by name, live.
        allowed: What profiles may allow, asked anew for each look at all of them.

    """

    def __init__(self, objects: Mapping[str, SeccompProfile], allowed: Callable[[], Allowed]) -> None:
        self._objects, self._ask_allowed = objects, allowed
        self._allowed = Allowed()
        self._seen: dict[str, SeccompProfile] = {}
        self._known: dict[str, tuple[dict[str, SeccompProfile | None], Wanted]] = {}

    def wanted(self) -> list[Wanted]:
        """All profiles, each with the hash of its file or with its problem."""
        self._seen = dict(self._objects)  # the mirror's thread goes on changing them
        if (allowed := self._ask_allowed()) != self._allowed:
            self._allowed = allowed
            self._known.clear()
        self._known = {name: known for name, known in self._known.items() if name in self._seen}
        return [self._wanted(name, obj) for name, obj in self._seen.items()]

    def of(self, name: str) -> bytes:
        """The file of a profile that makes one, as of the last look at all of them."""
        return self._made(name, {})

    def _wanted(self, name: str, obj: SeccompProfile) -> Wanted:
        if known := self._known.get(name):
            asked, wanted = known
            if all(self._seen.get(other) is one for other, one in asked.items()):
                return wanted
        asked = {name: obj}
        wanted = self._make(name, obj, asked)
        self._known[name] = asked, wanted
        return wanted

    def _make(self, name: str, obj: SeccompProfile, asked: dict[str, SeccompProfile | None]) -> Wanted:
        meta = obj.metadata
        base = Wanted(name, meta.uid, meta.creation_timestamp, terminating=meta.deletion_timestamp is not None)
        try:
            if state := withheld(msgspec.json.decode(obj.spec, type=Switch), meta.labels):
                return replace(base, withheld=state)
            return replace(base, sha256=sha256(self._made(name, asked)).hexdigest())
        except ProfileError as error:
            problem = Problem(error.reason, str(error))
        except UNREADABLE as error:
            problem = Problem("InvalidSeccompProfile", f"spec: {error}")
        except Exception as error:  # a fault of ours with one profile must not end the work for all others
            log.exception("fault while reading SeccompProfile %s", name)
            problem = Problem("InvalidSeccompProfile", f"cannot be read: {error!r}")
        return replace(base, problem=problem)

    def _made(self, name: str, asked: dict[str, SeccompProfile | None]) -> bytes:
        def lookup(other: str) -> Profile | None:
            found = asked[other] = self._seen.get(other)
            return decode_spec(found.spec) if found else None

        merged = resolve(name, lookup)
        check(merged, self._allowed.syscalls, self._allowed.actions)
        return runtime_file(merged)
