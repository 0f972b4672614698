"""What is to be done about the files of SeccompProfiles on this node, and what is said of each profile.

Pure: it sees the profiles, what stands in the folder and which files pods name, and decides. The order of its rules:
the oldest profile has a file that several ask for; a file of another owner is never touched; a file that pods name
stays; a file without a profile goes.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from exectrail.contracts.spo import State, profile_file
from exectrail.seccomp.withheld import Withheld
from profiles.installer.folder import Found
from profiles.installer.owned import Owned

NOT_ALLOWED = "ProfileNotAllowed"
"""The reason that takes a file away: the lists of what is allowed are there to be enforced."""

_MOST_MESSAGE = 512
_MOST_NAME = 255
"""NAME_MAX of Linux. A profile's name has up to 253 bytes, without `.json`."""


class Problem(Struct, frozen=True):
    """Why a profile is not as it says."""

    reason: str
    """One word, in the way of the API's conditions."""
    message: str


class Wanted(Struct, frozen=True):
    """A SeccompProfile, as far as its file is concerned."""

    name: str
    uid: str
    created: str
    """RFC 3339, UTC: earlier is less."""
    withheld: Withheld = ""
    """The state of a profile that is not to be installed; its file goes."""
    terminating: bool = False
    """Whether it is being deleted. Its file stays until it is gone, for pods on other nodes may still name it."""
    sha256: str = ""
    """Of the file that it makes; empty where it makes none."""
    problem: Problem | None = None
    """Why it makes none."""


class NodeState(Struct, frozen=True):
    """What is said of a profile on this node."""

    state: State
    reason: str = ""
    message: str = ""
    last_good: bool = False
    """Whether the file of an earlier good version is there, in place of the one that the profile asks for."""


class Plan(Struct):
    """What to do, by file; and what to say afterwards if it succeeds, by profile."""

    writes: dict[str, Wanted]
    removals: dict[str, str]
    """The profile of each, or nothing where it is gone."""
    forgotten: set[str]
    """Files of the list that are not ours any more, or not there."""
    states: dict[str, NodeState]
    good: set[str]
    """Files that are of their profile before anything is done, of its present version or of an earlier one."""


def failed(reason: str, message: str) -> NodeState:
    """The state of a profile that is not in place."""
    return NodeState("Error", reason, message if len(message) <= _MOST_MESSAGE else f"{message[: _MOST_MESSAGE - 1]}…")


def plan(
    profiles: Iterable[Wanted],
    owned: Mapping[str, Owned],
    found: Mapping[str, Found],
    in_use: frozenset[str] | None,
    of_operator: frozenset[str] = frozenset(),
) -> Plan:
    """Decide.

    Args:
        profiles: All there are.
        owned: Our files, by name.
        found: What stands in the folder, by name; at least under the names of `profiles` and `owned`.
        in_use: The files that pods of this node name; None where that is not known, so that all stay.
        of_operator: The files that the Security Profiles Operator wrote: a profile of that very name takes them over.

    """
    result = Plan({}, {}, set(), {}, set())
    holders: dict[str, Wanted] = {}
    for profile in sorted(profiles, key=lambda each: (each.created, each.name)):
        file = profile_file(profile.name)
        if not is_plain(file):
            result.states[profile.name] = failed(
                "InvalidSeccompProfile", f"the name {profile.name!r} is no file's name"
            )
        elif file in holders:
            result.states[profile.name] = _conflict(file, holders[file])
        else:
            holders[file] = profile
            result.states[profile.name] = _decide(result, file, profile, owned, found, in_use, of_operator)
    for file in owned.keys() - holders.keys():
        if not is_plain(file) or file not in found or found[file].sha256 not in owned[file].sha256:
            result.forgotten.add(file)
        elif in_use is not None and file not in in_use:
            result.removals[file] = ""
    return result


def _decide(
    result: Plan,
    file: str,
    profile: Wanted,
    owned: Mapping[str, Owned],
    found: Mapping[str, Found],
    in_use: frozenset[str] | None,
    of_operator: frozenset[str],
) -> NodeState:
    """Plan for the one profile that has a file; what to say of it."""
    there = found.get(file)
    same = there is not None and there.sha256 == profile.sha256 != ""
    ours = there is None or file in owned or file in of_operator or same
    goes = profile.withheld or (profile.problem is not None and profile.problem.reason == NOT_ALLOWED)
    if goes:
        if there is not None and ours and in_use is not None and file not in in_use:
            result.removals[file] = profile.name
    elif file in of_operator or _is_good(profile, owned.get(file), there):
        result.good.add(file)
    if profile.withheld:
        is_kept = there is not None and ours and in_use is not None and file in in_use
        return _shown(profile, _withheld(profile.withheld, file, is_kept=is_kept))
    if profile.problem:  # the file of its last good version stays, if it is allowed
        state = failed(profile.problem.reason, profile.problem.message)
        return _shown(profile, replace(state, last_good=file in result.good))
    if not ours:
        whose = f"operator/{file} was not written by exectrail, or cannot be read"
        message = f"{whose}: remove it on the node, or rename the profile"
        return _shown(profile, failed("ForeignFile", message))
    if not (same and there and there.sound and file in owned and owned[file] == Owned(profile.uid, [profile.sha256])):
        result.writes[file] = profile
    return _shown(profile, NodeState("Installed"))


def _is_good(profile: Wanted, ours: Owned | None, there: Found | None) -> bool:
    """Whether what stands there was written for this profile, which may have changed since."""
    if there is None or not there.sha256:
        return False
    is_earlier = ours is not None and ours.uid == profile.uid and there.sha256 in ours.sha256
    return is_earlier or there.sha256 == profile.sha256


def _withheld(state: State, file: str, *, is_kept: bool) -> NodeState:
    if is_kept:
        return NodeState(state, "InUse", f"operator/{file} is kept while pods on the node name it")
    return NodeState(state)


def _shown(profile: Wanted, state: NodeState) -> NodeState:
    """A profile that is being deleted says so, whatever else there is to say."""
    return replace(state, state="Terminating") if profile.terminating else state


def _conflict(file: str, holder: Wanted) -> NodeState:
    message = (
        f"operator/{file} belongs to the older SeccompProfile {holder.name!r}: delete that one, or rename this one"
    )
    return failed("FileConflict", message)


def is_plain(file: str) -> bool:
    """Whether it can be the name of a file in the folder, and of none that is kept there for ourselves."""
    return not file.startswith(".") and "/" not in file and "\0" not in file and len(file.encode()) <= _MOST_NAME
