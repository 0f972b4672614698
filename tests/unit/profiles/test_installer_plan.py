"""What the installer decides about files of SeccompProfiles, before it touches any."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exectrail.contracts.spo import profile_file
from exectrail.seccomp.withheld import Withheld
from profiles.installer.folder import MODE, Found
from profiles.installer.owned import Owned
from profiles.installer.plan import NodeState, Plan, Problem, Wanted, failed, plan

assert MODE == 0o644
NEW, OLD, OTHER = "11", "22", "33"
BROKEN = Problem("BaseProfileNotFound", "no base")
REFUSED = Problem("ProfileNotAllowed", "syscall not allowed: bpf")


def wanted(
    name: str = "a",
    sha256: str = NEW,
    problem: Problem | None = None,
    created: str = "2026-01-01T00:00:00Z",
    withheld: Withheld = "",
    terminating: bool = False,
) -> Wanted:
    made = sha256 if not withheld and problem is None else ""
    return Wanted(name, f"uid-{name}", created, withheld, terminating, made, problem)


def found(sha256: str = NEW, sound: bool = True) -> Found:
    return Found(sha256, sound, owner=0)


def owned(*sha256: str) -> dict[str, Owned]:
    return {"a.json": Owned("uid-a", list(sha256))}


def decide(
    profile: Wanted,
    ours: dict[str, Owned],
    there: Found | None,
    in_use: bool | None = False,
    of_operator: bool = False,
) -> tuple[str, str, str]:
    """What is done with `a.json`, and state and reason of its profile."""
    made = plan(
        [profile],
        ours,
        {"a.json": there} if there else {},
        None if in_use is None else frozenset({"a.json"} if in_use else ()),
        frozenset({"a.json"} if of_operator else ()),
    )
    return done(made), made.states["a"].state, made.states["a"].reason


def done(made: Plan, file: str = "a.json") -> str:
    acts = {"write": set(made.writes), "remove": set(made.removals), "forget": made.forgotten}
    return "".join(act for act, files in acts.items() if file in files)


@pytest.mark.parametrize(
    ("profile", "ours", "there", "in_use", "expected"),
    [
        (wanted(), {}, None, False, ("write", "Installed", "")),
        (wanted(), owned(NEW), found(NEW), False, ("", "Installed", "")),
        (wanted(), owned(OLD), found(OLD), True, ("write", "Installed", "")),
        (wanted(), owned(NEW), found(OTHER), True, ("write", "Installed", "")),
        (wanted(), owned(NEW), found("", sound=False), True, ("write", "Installed", "")),
        (wanted(), owned(NEW), found(NEW, sound=False), False, ("write", "Installed", "")),
        (wanted(), {}, found(NEW), False, ("write", "Installed", "")),
        (wanted(), {}, found(OTHER), False, ("", "Error", "ForeignFile")),
        (wanted(), {}, found("", sound=False), False, ("", "Error", "ForeignFile")),
        (wanted(problem=BROKEN), {}, None, False, ("", "Error", "BaseProfileNotFound")),
        (wanted(problem=BROKEN), owned(OLD), found(OLD), False, ("", "Error", "BaseProfileNotFound")),
        (wanted(problem=REFUSED), owned(OLD), found(OLD), False, ("remove", "Error", "ProfileNotAllowed")),
        (wanted(problem=REFUSED), owned(OLD), found(OLD), True, ("", "Error", "ProfileNotAllowed")),
        (wanted(problem=REFUSED), owned(OLD), found(OLD), None, ("", "Error", "ProfileNotAllowed")),
        (wanted(withheld="Disabled"), {}, None, False, ("", "Disabled", "")),
        (wanted(withheld="Disabled"), owned(OLD), found(OLD), False, ("remove", "Disabled", "")),
        (wanted(withheld="Disabled"), owned(OLD), found(OLD), True, ("", "Disabled", "InUse")),
        (wanted(withheld="Disabled"), owned(OLD), found(OLD), None, ("", "Disabled", "")),
        (wanted(withheld="Disabled"), {}, found(OTHER), False, ("", "Disabled", "")),
        (wanted(withheld="Partial"), {}, None, False, ("", "Partial", "")),
        (wanted(withheld="Partial"), owned(OLD), found(OLD), False, ("remove", "Partial", "")),
        (wanted(withheld="Partial"), owned(OLD), found(OLD), True, ("", "Partial", "InUse")),
        (wanted(terminating=True), owned(NEW), found(NEW), False, ("", "Terminating", "")),
        (wanted(terminating=True), owned(NEW), None, True, ("write", "Terminating", "")),
        (wanted(terminating=True, withheld="Disabled"), {}, None, False, ("", "Terminating", "")),
        (wanted(terminating=True, withheld="Disabled"), owned(OLD), found(OLD), False, ("remove", "Terminating", "")),
        (wanted(terminating=True, withheld="Disabled"), owned(OLD), found(OLD), True, ("", "Terminating", "InUse")),
        (wanted(terminating=True, problem=BROKEN), owned(OLD), found(OLD), True, ("", "Terminating", BROKEN.reason)),
    ],
)
def test_what_becomes_of_a_profiles_file(
    profile: Wanted, ours: dict[str, Owned], there: Found | None, in_use: bool | None, expected: tuple[str, str, str]
) -> None:
    assert decide(profile, ours, there, in_use) == expected


@pytest.mark.parametrize(
    ("profile", "ours", "there", "of_operator", "last_good"),
    [
        (wanted(problem=BROKEN), owned(OLD), found(OLD), False, True),
        (wanted(problem=BROKEN), owned(OLD, NEW), found(OLD), False, True),
        (wanted(problem=BROKEN), owned(OLD), found(OLD, sound=False), False, True),
        (wanted(problem=BROKEN), {}, found(OLD), True, True),
        (wanted(problem=BROKEN), owned(OLD), None, False, False),
        (wanted(problem=BROKEN), owned(OLD), found(OTHER), False, False),
        (wanted(problem=BROKEN), owned(OLD), found(""), False, False),
        (wanted(problem=BROKEN), {}, found(OLD), False, False),
        (wanted(problem=BROKEN), {"a.json": Owned("another object", [OLD])}, found(OLD), False, False),
        (wanted(problem=REFUSED), owned(OLD), found(OLD), False, False),
        (wanted(withheld="Disabled"), owned(OLD), found(OLD), False, False),
        (wanted(), {}, found(OTHER), False, False),
        (wanted(), owned(NEW), found(NEW), False, False),
    ],
)
def test_a_profile_that_makes_no_file_says_whether_its_last_good_one_stays(
    profile: Wanted, ours: dict[str, Owned], there: Found | None, of_operator: bool, last_good: bool
) -> None:
    made = plan(
        [profile],
        ours,
        {"a.json": there} if there else {},
        frozenset({"a.json"}),
        frozenset({"a.json"} if of_operator else ()),
    )
    assert made.states["a"].last_good is last_good


def test_a_file_of_the_operator_is_taken_over_by_the_profile_of_that_name() -> None:
    assert decide(wanted(), {}, found(OTHER), of_operator=True) == ("write", "Installed", "")
    assert decide(wanted(withheld="Disabled"), {}, found(OTHER), of_operator=True) == ("remove", "Disabled", "")


@pytest.mark.parametrize(
    ("there", "in_use", "expected"),
    [
        (found(OLD), frozenset(), "remove"),
        (found(OLD), frozenset({"a.json"}), ""),
        (found(OLD), None, ""),
        (found(OTHER), frozenset(), "forget"),
        (None, frozenset(), "forget"),
    ],
)
def test_a_file_whose_profile_is_gone_goes_unless_pods_name_it_or_another_changed_it(
    there: Found | None, in_use: frozenset[str] | None, expected: str
) -> None:
    made = plan([], owned(OLD), {"a.json": there} if there else {}, in_use)
    assert done(made) == expected


def test_the_older_of_two_profiles_has_the_file_and_the_other_says_whose_it_is() -> None:
    older, younger = wanted("a.json", created="2026-01-01T00:00:00Z"), wanted("a", created="2026-01-02T00:00:00Z")
    made = plan([younger, older], {}, {}, frozenset())
    assert made.writes == {"a.json": older}
    assert made.states["a.json"] == NodeState("Installed")
    assert (made.states["a"].state, made.states["a"].reason) == ("Error", "FileConflict")
    assert "'a.json'" in made.states["a"].message


def test_of_two_profiles_of_the_same_second_the_first_by_name_has_the_file() -> None:
    made = plan([wanted("a.json"), wanted("a")], {}, {}, frozenset())
    assert made.writes["a.json"].name == "a"


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ".", ".exectrail", "/etc/passwd", "a\0b", "x" * 251])
def test_a_name_that_leads_out_of_the_folder_is_never_written(name: str) -> None:
    made = plan([wanted(name)], {}, {}, frozenset())
    assert (made.writes, made.removals) == ({}, {})
    assert (made.states[name].state, made.states[name].reason) == ("Error", "InvalidSeccompProfile")


def test_a_long_message_is_cut() -> None:
    assert len(failed("x", "é" * 1000).message) == 512
    assert failed("x", "é" * 512).message == "é" * 512


NAMES = st.sampled_from(["a", "a.json", "b", "c", "..", "x/y"])
FILES = st.sampled_from(["a.json", "b.json", "c.json", "gone.json", "..json"])
SHAS = st.sampled_from([NEW, OLD, OTHER])
PROFILES = st.lists(
    st.builds(
        wanted,
        name=NAMES,
        withheld=st.sampled_from(["", "Disabled", "Partial"]),
        terminating=st.booleans(),
        sha256=SHAS,
        problem=st.sampled_from([None, BROKEN, REFUSED]),
        created=st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]),
    ),
    unique_by=lambda profile: profile.name,
)
OWNED = st.dictionaries(FILES, st.builds(Owned, uid=st.just("u"), sha256=st.lists(SHAS, min_size=1, max_size=2)))
FOUND = st.dictionaries(FILES, st.builds(found, sha256=st.sampled_from([NEW, OLD, OTHER, ""]), sound=st.booleans()))
IN_USE = st.none() | st.frozensets(FILES)


@given(PROFILES, OWNED, FOUND, IN_USE, st.frozensets(FILES))
def test_every_profile_has_a_state_and_no_file_of_another_or_in_use_is_removed(
    profiles: list[Wanted],
    ours: dict[str, Owned],
    there: dict[str, Found],
    in_use: frozenset[str] | None,
    of_operator: frozenset[str],
) -> None:
    made = plan(profiles, ours, there, in_use, of_operator)

    assert made.states.keys() == {profile.name for profile in profiles}
    for file in made.removals:
        assert file in ours or file in of_operator
        assert in_use is not None and file not in in_use
    for file, profile in made.writes.items():
        assert file == profile_file(profile.name) and "/" not in file and not file.startswith(".")
        assert file not in there or file in ours or file in of_operator or there[file].sha256 == profile.sha256
        assert profile.sha256
    assert not made.writes.keys() & made.removals.keys()
    assert made.forgotten <= ours.keys()


@given(PROFILES, OWNED, FOUND, IN_USE, st.randoms())
def test_the_order_of_the_profiles_does_not_matter(
    profiles: list[Wanted], ours: dict[str, Owned], there: dict[str, Found], in_use: frozenset[str] | None, random: Any
) -> None:
    shuffled = list(profiles)
    random.shuffle(shuffled)
    assert plan(shuffled, ours, there, in_use) == plan(profiles, ours, there, in_use)


@given(PROFILES, OWNED, FOUND, st.frozensets(FILES))
def test_once_it_is_carried_out_nothing_is_left_to_do(
    profiles: list[Wanted], ours: dict[str, Owned], there: dict[str, Found], in_use: frozenset[str]
) -> None:
    made = plan(profiles, ours, there, in_use)
    gone = made.removals.keys() | made.forgotten
    after = {file: each for file, each in ours.items() if file not in gone}
    after |= {file: Owned(profile.uid, [profile.sha256]) for file, profile in made.writes.items()}
    stands = {file: each for file, each in there.items() if file not in made.removals}
    stands |= {file: found(profile.sha256) for file, profile in made.writes.items()}

    again = plan(profiles, after, stands, in_use)

    assert (again.writes, again.removals, again.forgotten) == ({}, {}, set())
    assert again.states.keys() == made.states.keys()
