"""The files of SeccompProfiles on this node: looks at the folder, has it planned, and carries that out."""

import logging
from collections.abc import Callable, Iterable, Mapping

import msgspec
from msgspec import Struct, field, structs

from exectrail.contracts.spo import profile_file
from exectrail.contracts.unreadable import UNREADABLE
from profiles.installer import metrics, owned
from profiles.installer.folder import Found, look, remove, remove_parts, replace
from profiles.installer.operator_folder import FolderError, OperatorFolder
from profiles.installer.owned import Owned
from profiles.installer.plan import NodeState, Plan, Wanted, failed, is_plain, plan

CANNOT_SAVE = "CannotSaveSeccompProfile"
CANNOT_REMOVE = "CannotRemoveSeccompProfile"

_OPERATORS_UID = 65535
"""The Security Profiles Operator's, on the node."""

InUse = Callable[[], frozenset[str] | None]
"""The files that pods of this node name; None where that is not known."""

log = logging.getLogger(__name__)


class _OperatorsFile(Struct):
    """The operator writes a profile's whole `spec`, which is more than a runtime reads."""

    state: str
    default_action: str = field(name="defaultAction")


class ProfileFiles:
    """Keeps the folder as the profiles say.

    Args:
        folder: Where it is.
        content: What a profile's file holds, by the profile's name.
        named: The files that pods name, as last seen.
        named_now: The same, asked anew: called before anything is removed.

    """

    def __init__(self, folder: OperatorFolder, content: Callable[[str], bytes], named: InUse, named_now: InUse) -> None:
        self._folder, self._content, self._named, self._named_now = folder, content, named, named_now
        self._begun = False
        self.failure: str | None = None
        """Why the folder is not as it should be, where the node is to blame; after the last `update`."""

    def update(self, profiles: Iterable[Wanted]) -> dict[str, NodeState]:
        """Write and remove files; the state of each profile by name. One that fails does not stop the others."""
        wanted = list(profiles)
        self.failure = None
        try:
            with self._folder.opened() as (folder, is_operators):
                if not self._begun:
                    remove_parts(folder)
                    self._begun = True
                return self._update(folder, is_operators, wanted)
        except FolderError as error:
            message = str(error)
        except OSError as error:
            message = f"the folder of profiles cannot be read: {error.strerror}; look at the node's disk"
        return {each.name: self._fail(CANNOT_SAVE, message) for each in wanted}

    def _update(self, folder: int, is_operators: bool, wanted: list[Wanted]) -> dict[str, NodeState]:
        ours = owned.read(folder)
        found = {
            file: there
            for file in {profile_file(each.name) for each in wanted} | ours.keys()
            if (there := _look(folder, file, is_operators))
        }
        of_operator = frozenset(file for file, there in found.items() if is_operators and _is_of_operator(there))
        todo = plan(wanted, ours, found, self._named(), of_operator)
        if todo.removals:
            # A pod that came a moment ago may not have been seen yet.
            todo = plan(wanted, ours, found, self._named_now(), of_operator)
        for file in todo.forgotten & found.keys():
            log.warning("left a file that was changed by another: operator/%s", file)
        before = {file: each for file, each in ours.items() if file not in todo.forgotten}
        after, broken = self._write(folder, todo, before, found)
        broken |= self._remove(folder, todo, after)
        if after != ours or todo.writes:
            self._list(folder, after)
        return todo.states | broken

    def _write(
        self, folder: int, todo: Plan, before: dict[str, Owned], found: Mapping[str, Found]
    ) -> tuple[dict[str, Owned], dict[str, NodeState]]:
        """What is ours afterwards, and the states of the profiles whose files could not be written."""
        after, broken = dict(before), {}
        meanwhile = {
            file: Owned(profile.uid, sorted({profile.sha256, *_contents(before.get(file), found.get(file))}))
            for file, profile in todo.writes.items()
        }
        if todo.writes and (failure := self._list(folder, before | meanwhile)):
            return after, {
                profile.name: structs.replace(failure, last_good=file in todo.good)
                for file, profile in todo.writes.items()
            }
        for file, profile in todo.writes.items():
            try:
                replace(folder, file, self._content(profile.name))
            except OSError as error:
                message = f"operator/{file}: {error.strerror}; free the path or the disk on the node"
                failure = self._fail(CANNOT_SAVE, message)
                broken[profile.name] = structs.replace(failure, last_good=file in todo.good)
            else:
                after[file] = Owned(profile.uid, [profile.sha256])
                metrics.FILES.labels("write").inc()
                log.info("profile written: operator/%s", file)
        return after, broken

    def _remove(self, folder: int, todo: Plan, after: dict[str, Owned]) -> dict[str, NodeState]:
        """The states of the profiles whose files could not be removed."""
        broken: dict[str, NodeState] = {}
        for file, name in todo.removals.items():
            try:
                remove(folder, file)
            except OSError as error:
                failure = self._fail(CANNOT_REMOVE, f"operator/{file}: {error.strerror}; remove it on the node")
                broken |= {name: failure} if name else {}
            else:
                after.pop(file, None)
                metrics.FILES.labels("remove").inc()
                log.info("profile removed: operator/%s", file)
        return broken

    def _list(self, folder: int, files: dict[str, Owned]) -> NodeState | None:
        """Write down what is ours; the failure if that does not succeed."""
        try:
            owned.write(folder, files)
        except OSError as error:
            return self._fail(CANNOT_SAVE, f"operator/{owned.FILE}: {error.strerror}; free the disk on the node")
        return None

    def _fail(self, reason: str, message: str) -> NodeState:
        if self.failure is None:
            self.failure = message
            log.error("%s", message)
        return failed(reason, message)


def _look(folder: int, file: str, content: bool) -> Found | None:
    """What stands there; what cannot be read counts as another's."""
    if not is_plain(file):
        return None
    try:
        return look(folder, file, content)
    except OSError as error:
        log.warning("cannot read operator/%s: %s", file, error.strerror)
        return Found("", sound=False, owner=-1)


def _is_of_operator(there: Found) -> bool:
    if not there.sha256:
        return False
    if there.owner == _OPERATORS_UID:
        return True
    try:
        msgspec.json.decode(there.content, type=_OperatorsFile)
    except UNREADABLE:
        return False
    return True


def _contents(ours: Owned | None, there: Found | None) -> list[str]:
    """What a file may hold before it is written."""
    return ours.sha256 if ours else [there.sha256] if there else []
