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
from typing import Any, Final

from enricher.events import Seccomp

_QUOTED_TEXT: Final = 200

# (uint32) -1 stands for: no login user, no audit session, an id without a mapping.
_ID: Final = rb"=(?:4294967295|(\d{1,10})) "
_IDS: Final = rb"(?:auid" + _ID + rb")?(?:uid" + _ID + rb")?(?:gid" + _ID + rb")?(?:ses" + _ID + rb")?"

# "<no_memory>" and "<too_long>" stand where the kernel could not make a path; paths start with a slash.
_STRING: Final = rb'(?:"([!#-~]*)"|((?:[0-9A-F]{2})+)|\(null\))'
_PATH: Final = rb'(?:"(?!<)([!#-~]*)"|((?:[0-9A-F]{2})+)|\(null\)|"<[a-z_]+>")'
_CALL: Final = (
    rb"comm=" + _STRING + rb" exe=" + _PATH + rb" sig=(-?\d{1,19}) arch=([0-9a-f]{1,8}) syscall=(-?\d{1,19}) "
)


# Every number is bounded, so that int() is cheap and cannot fail. An LSM's label may hold spaces and whatever an
# administrator named a profile, e.g. `subj=docker-default (enforce)`; as no later value holds a space, the rest of
# the line still has only one reading.
_RECORD = re.compile(
    rb"audit\((?P<seconds>\d{1,12})\.(?P<milliseconds>\d{3}):(?P<serial>\d{1,10})\): "
    rb"(?P<ids>" + _IDS + rb")(?:subj=.*? )?pid=(?P<pid>\d{1,10}) (?P<call>" + _CALL + rb")"
    rb"compat=-?\d{1,10} ip=0x[0-9a-f]{1,16} code=0x(?P<code>[0-9a-f]{1,8})",
)

# What a program's records have in common is read once: the parts below have passed the pattern above.
_REMEMBERED: Final = 64  # a part has up to 8 KiB, so that is at most 1 MiB
_IDS_PART = re.compile(_IDS)
_CALL_PART = re.compile(_CALL)


class Unparsable(ValueError):
    """Text that is no SECCOMP record; the message quotes at most its first 200 bytes."""

    def __init__(self, text: bytes) -> None:
        super().__init__(f"not a SECCOMP audit record: {text[:_QUOTED_TEXT]!r}")


def parse(text: bytes) -> Seccomp:
    """Read one record, without line end.

    Raises:
        Unparsable: The text is anything else.

    """
    match = _RECORD.fullmatch(text)
    if match is None:
        raise Unparsable(text)
    seconds, milliseconds, serial, ids, pid, call, code = match.group(
        "seconds", "milliseconds", "serial", "ids", "pid", "call", "code"
    )
    uid, gid, auid, ses = _ids(ids)
    comm, exe, signal, arch, syscall, action = _call(call, code)
    return Seccomp(
        int(seconds + milliseconds), int(serial), int(pid),
        uid, gid, auid, ses, comm, exe, signal, arch, syscall, action,
    )  # fmt: skip


@lru_cache(_REMEMBERED)
def _ids(part: bytes) -> tuple[int | None, int | None, int | None, int | None]:
    """uid, gid, auid, ses."""
    auid, uid, gid, ses = (None if each is None else int(each) for each in _groups(_IDS_PART, part))
    return uid, gid, auid, ses


@lru_cache(_REMEMBERED)
def _call(part: bytes, code: bytes) -> tuple[bytes | None, bytes | None, int, int, int, int]:
    """comm, exe, signal, arch, syscall, code."""
    comm, comm_hex, exe, exe_hex, signal, arch, syscall = _groups(_CALL_PART, part)
    return (
        comm if comm_hex is None else unhexlify(comm_hex),
        exe if exe_hex is None else unhexlify(exe_hex),
        int(signal),
        int(arch, 16),
        int(syscall),
        int(code, 16),
    )


def _groups(pattern: re.Pattern[bytes], part: bytes) -> tuple[Any, ...]:
    match = pattern.fullmatch(part)
    assert match is not None, part  # noqa: S101 - the whole record's pattern is made of this one
    return match.groups()
