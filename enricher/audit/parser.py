"""Reads the text of a kernel audit record of type 1326 (SECCOMP).

The text is what the kernel's audit_seccomp() writes (kernel/auditsc.c), the same over netlink and, after `msg=`, in
auditd's log:

    audit(1795424943.092:9842): auid=4294967295 uid=0 gid=0 ses=4294967295 pid=26255 comm="env" exe="/bin/busybox"
    sig=0 arch=c000003e syscall=59 compat=0 ip=0x461857 code=0x7ffc0000

A container chooses its `comm` and `exe`. The kernel's rule for such strings (audit_log_untrustedstring) is what
keeps them from posing as other fields: quoted when all of it is printable, without space and quote; else in hex.
"""

import re
from binascii import unhexlify
from functools import lru_cache
from typing import Final

from enricher.events import SeccompEvent

_QUOTED_TEXT: Final = 200
_LONGEST_NUMBER: Final = 10

# Every number is bounded, so that int() is cheap and cannot fail.
_STAMP = re.compile(rb"audit\((0|[1-9]\d{0,11})\.(\d{3}):(\d{1,10})")

# (uint32) -1 stands for: no login user, no audit session, an id without a mapping. An LSM's label may hold spaces and
# whatever an administrator named a profile, e.g. `subj=docker-default (enforce)`.
_ID: Final = rb"=(?:4294967295|(\d{1,10}))"
_WHO = re.compile(
    rb"(?: auid" + _ID + rb")?(?: uid" + _ID + rb")?(?: gid" + _ID + rb")?(?: ses" + _ID + rb")?(?: subj=.*)?"
)

# "<no_memory>" and "<too_long>" stand where the kernel could not make a path; paths start with a slash.
_STRING: Final = rb'(?:"([!#-~]*)"|((?:[0-9A-F]{2})+)|\(null\))'
_PATH: Final = rb'(?:"(?!<)([!#-~]*)"|((?:[0-9A-F]{2})+)|\(null\)|"<[a-z_]+>")'
_WHAT = re.compile(
    rb"comm=" + _STRING + rb" exe=" + _PATH + rb" sig=(-?\d{1,19}) arch=([0-9a-f]{1,8}) syscall=(-?\d{1,19}) "
    rb"compat=-?\d{1,10} ip=0x[0-9a-f]{1,16} code=0x([0-9a-f]{1,8})"
)

_REMEMBERED: Final = 128
"""A program's records differ in their stamp and pid alone: the other parts are read once. One has up to 8 KiB, so that
is at most 2 MiB."""


class Unparsable(ValueError):
    """Text that is no SECCOMP record; the message quotes at most its first 200 bytes."""

    def __init__(self, text: bytes) -> None:
        super().__init__(f"not a SECCOMP audit record: {text[:_QUOTED_TEXT]!r}")


def parse(text: bytes) -> SeccompEvent:
    """Read one record, without line end.

    Raises:
        Unparsable: The text is anything else.

    """
    # Nothing is left out by cutting it up: each part is matched to its end. The first `):` ends the stamp. No value
    # after the pid holds a space, so that the last ` pid=` is the field, whatever a label says.
    head, _, rest = text.partition(b"):")
    user, has_pid, process = rest.rpartition(b" pid=")
    pid, _, call = process.partition(b" ")
    stamp, who, what = _STAMP.fullmatch(head), _who(user), _what(call)
    if stamp is None or who is None or what is None or not has_pid or not pid.isdigit() or len(pid) > _LONGEST_NUMBER:
        raise Unparsable(text)
    seconds, milliseconds, serial = stamp.groups()
    uid, gid, auid, ses = who
    comm, exe, signal, arch, number, code = what
    return SeccompEvent(
        int(seconds + milliseconds), int(serial), int(pid), uid, gid, auid, ses, comm, exe, signal, arch, number, code
    )


@lru_cache(_REMEMBERED)
def _who(part: bytes) -> tuple[int | None, int | None, int | None, int | None] | None:
    """uid, gid, auid, ses."""
    match = _WHO.fullmatch(part)
    if match is None:
        return None
    auid, uid, gid, ses = (None if each is None else int(each) for each in match.groups())
    return uid, gid, auid, ses


@lru_cache(_REMEMBERED)
def _what(part: bytes) -> tuple[bytes | None, bytes | None, int, int, int, int] | None:
    """comm, exe, signal, arch, syscall, code."""
    match = _WHAT.fullmatch(part)
    if match is None:
        return None
    comm, comm_hex, exe, exe_hex, signal, arch, syscall, code = match.groups()
    return (
        comm if comm_hex is None else unhexlify(comm_hex),
        exe if exe_hex is None else unhexlify(exe_hex),
        int(signal),
        int(arch, 16),
        int(syscall),
        int(code, 16),
    )
