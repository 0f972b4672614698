"""Names of system calls that no kernel has are found, and none that some kernel has."""

from enricher import syscalls_table
from exectrail.seccomp.profile import Profile, Rule
from exectrail.seccomp.syscall_names import NAMES, unknown_syscalls


def test_names_that_no_kernel_has_are_listed_once_and_sorted() -> None:
    rules = [Rule(["execve", "opne", "clone"], "SCMP_ACT_LOG"), Rule(["opne", "closee"], "SCMP_ACT_ALLOW")]
    assert unknown_syscalls(Profile("SCMP_ACT_ERRNO", syscalls=rules)) == ["closee", "opne"]


def test_every_name_that_the_enricher_reports_is_known() -> None:
    tables = [value for name, value in vars(syscalls_table).items() if name.isupper()]
    assert len(tables) >= 4
    assert {word for table in tables for word in table.split() if not word.isdigit()} <= NAMES
