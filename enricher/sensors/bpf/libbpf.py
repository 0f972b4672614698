"""The few calls of libbpf 1.x that the sensor makes, through ctypes. https://libbpf.readthedocs.io/en/latest/api.html

Since 1.0 every call reports failure the same way: NULL or a negative number, and errno.
"""

import ctypes
import os
from collections import deque
from collections.abc import Callable
from ctypes import c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from functools import cache
from typing import Any

from enricher.sensors.unavailable import SensorUnavailable

LIBRARY = "libbpf.so.1"

# PYFUNCTYPE, and PyDLL below, keep the interpreter lock: nothing called here blocks, and giving the lock back and
# forth would cost more than a sample's callback does.
SampleCallback = ctypes.PYFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t)
_PrintCallback = ctypes.PYFUNCTYPE(c_int, c_int, c_char_p, c_void_p)

_WARNING = 0  # LIBBPF_WARN
_LONGEST_MESSAGE = 1 << 20  # the verifier's log comes as one message

_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "bpf_object__open_file": (c_void_p, [c_char_p, c_void_p]),
    "bpf_object__load": (c_int, [c_void_p]),
    "bpf_object__close": (None, [c_void_p]),
    "bpf_object__find_map_by_name": (c_void_p, [c_void_p, c_char_p]),
    "bpf_object__find_program_by_name": (c_void_p, [c_void_p, c_char_p]),
    "bpf_map__set_max_entries": (c_int, [c_void_p, c_uint32]),
    "bpf_map__fd": (c_int, [c_void_p]),
    "bpf_map_update_elem": (c_int, [c_int, c_void_p, c_void_p, c_uint64]),
    "bpf_map_lookup_elem": (c_int, [c_int, c_void_p, c_void_p]),
    "bpf_map_delete_elem": (c_int, [c_int, c_void_p]),
    "bpf_program__attach": (c_void_p, [c_void_p]),
    "bpf_program__attach_iter": (c_void_p, [c_void_p, c_void_p]),
    "bpf_program__fd": (c_int, [c_void_p]),
    "bpf_obj_get_info_by_fd": (c_int, [c_int, c_void_p, c_void_p]),
    "bpf_link__fd": (c_int, [c_void_p]),
    "bpf_link__destroy": (c_int, [c_void_p]),
    "bpf_iter_create": (c_int, [c_int]),
    "ring_buffer__new": (c_void_p, [c_int, SampleCallback, c_void_p, c_void_p]),
    "ring_buffer__epoll_fd": (c_int, [c_void_p]),
    "ring_buffer__consume": (c_int, [c_void_p]),
    "ring_buffer__free": (None, [c_void_p]),
    "libbpf_num_possible_cpus": (c_int, []),
    "libbpf_set_print": (c_void_p, [_PrintCallback]),
}


class Library:
    """libbpf as found on the node, and the last warnings it printed, which say what errno does not."""

    def __init__(self) -> None:
        try:
            self.call = ctypes.PyDLL(LIBRARY, use_errno=True)
        except OSError as error:
            raise SensorUnavailable(f"libbpf not found ({error}); on Debian it is in the package libbpf1") from error
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(self.call, name)
            function.restype, function.argtypes = result, arguments
        self._warnings: deque[str] = deque(maxlen=12)
        self._print = _PrintCallback(_keep_warnings(self._warnings.append))  # C holds no reference: we must
        self.call.libbpf_set_print(self._print)

    def need(self, result: int | None, action: str) -> int:
        """The result of a call, or SensorUnavailable if it is NULL or negative; `action` says what was tried."""
        if result is not None and result >= 0:
            return result
        reason = os.strerror(ctypes.get_errno())
        raise SensorUnavailable("; ".join([f"cannot {action}: {reason}", *self._warnings]))


@cache
def load_library() -> Library:
    """The one instance: libbpf's print function is global to the process."""
    return Library()


def _keep_warnings(keep: Callable[[str], None]) -> Callable[[int, bytes, int], int]:
    # va_list reaches us as a pointer by the C calling conventions of both x86_64 and arm64, and goes on as one.
    vsnprintf = ctypes.PyDLL(None).vsnprintf
    vsnprintf.argtypes = [c_char_p, c_size_t, c_char_p, c_void_p]

    def on_message(level: int, template: bytes, values: int) -> int:
        if level == _WARNING:
            message = ctypes.create_string_buffer(_LONGEST_MESSAGE)
            vsnprintf(message, _LONGEST_MESSAGE, template, values)
            for line in message.value.decode("utf-8", "replace").splitlines():
                keep(line.strip())
        return 0

    return on_message
