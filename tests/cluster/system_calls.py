"""Runs inside a container: makes each system call once with arguments that none can use, and says what came of it.

Prints a line per call: its number, and `ok`, the error, or how the process that made it ended. It goes in by standard
input, so it may import only what Python has.
"""

import ctypes
import errno
import os
import signal

_LAST = 462
_UNUSABLE = -1
_MOST_SECONDS = 2
_LEFT_OUT = {
    57,  # fork and vfork: the child would go on here
    58,
    153,  # vhangup: has no arguments to be unusable
    162,  # sync: waits for the disk
    435,  # clone3: refused on purpose, so that the C library takes clone
}
"""Numbers of x86_64."""


def main() -> None:
    """Make them in a child, and in another one from there on where that ended."""
    number = 0
    while number <= _LAST:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            _make(number, write)
        os.close(write)
        with os.fdopen(read) as file:
            lines = file.read().splitlines()
        _, status = os.waitpid(child, 0)
        print("\n".join(lines))
        number += len(lines)
        if number <= _LAST:
            print(number, "ended", os.waitstatus_to_exitcode(status))
            number += 1


def _make(first: int, write: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for number in range(first, _LAST + 1):
        signal.alarm(_MOST_SECONDS)
        ctypes.set_errno(0)
        answer = 0 if number in _LEFT_OUT else libc.syscall(number, *[ctypes.c_long(_UNUSABLE)] * 6)
        name = errno.errorcode.get(ctypes.get_errno(), "?")
        os.write(write, f"{number} {name if answer == -1 else 'ok'}\n".encode())
    os._exit(0)


if __name__ == "__main__":
    main()
