"""Loads ledger.bpf.o into the kernel and hands out what it tells.

Needs CAP_BPF and CAP_PERFMON, Linux 5.11 and its BTF; no privileged container, no kernel headers, no compiler.
"""

import ctypes
import struct
from collections.abc import Callable
from ctypes import byref, c_uint8, c_uint32, c_uint64
from pathlib import Path
from typing import Self

from enricher.bpf import preconditions
from enricher.bpf.decode import decode
from enricher.bpf.libbpf import Library, SampleCallback, load_library
from enricher.cgroupfs import Cgroup
from enricher.events import ProcessEvent
from enricher.unavailable import LedgerUnavailable

__all__ = ["OBJECT", "BpfLedger", "LedgerUnavailable"]

OBJECT = Path(__file__).with_name("ledger.bpf.o")

BATCH = 512
"""Samples that one `read` takes at most: at some 10 us each, the caller's other sources wait 5 ms at most."""

_BATCH_IS_FULL = -1
_RECORD, _IGNORE = 1, 2  # enum decision in ledger.bpf.c

# struct bpf_prog_info, include/uapi/linux/bpf.h; older kernels leave what they do not know untouched, that is zero
_PROGRAM_INFO_SIZE = 232
_RECURSION_MISSES = struct.Struct("=208xQ")


class BpfLedger:
    """The forks, execs and exits of the node's pods. Not for use by several threads at once.

    `undecodable` counts samples that were not understood: an object file of another version than this module.
    """

    def __init__(self, library: Library, loaded: int, programs: list[int]) -> None:
        self._library = library
        self._call = library.call
        self._object = loaded
        self._programs = programs
        self._cgroups = self._map("cgroups")
        self._lost = self._map("lost")
        self._samples: list[bytes] = []
        self._callback = SampleCallback(_collect_into(self._samples))  # C holds no reference: we must
        self._ring = library.need(
            self._call.ring_buffer__new(self._map("ring"), self._callback, None, None), "map the ring buffer"
        )
        self._links: list[int] = []
        self.undecodable = 0

    @classmethod
    def open(cls, kubepods: Cgroup, ring_bytes: int = 8 << 20, object_path: Path = OBJECT) -> Self:
        """Loads the program and starts it. `ring_bytes` is rounded up to a power of two of pages.

        Raises LedgerUnavailable with the reason if this node does not let it.
        """
        preconditions.check(object_path)
        library = load_library()
        loaded = library.need(library.call.bpf_object__open_file(bytes(object_path), None), f"open {object_path}")
        try:
            _size_maps(library, loaded, ring_bytes)
            library.need(library.call.bpf_object__load(loaded), "load the program into the kernel")
            ledger = cls(library, loaded, _programs(library, loaded))
        except LedgerUnavailable:
            library.call.bpf_object__close(loaded)
            raise
        try:
            ledger._start(kubepods)
        except LedgerUnavailable:
            ledger.close()
            raise
        return ledger

    def fileno(self) -> int:
        """Readable while samples wait; for selectors.

        Waking up costs more than ten events do: who can wait some milliseconds between two reads saves most of it.
        """
        return int(self._call.ring_buffer__epoll_fd(self._ring))

    def read(self) -> list[ProcessEvent]:
        """What is there, in the kernel's order and without blocking; at most `BATCH` events, so call again."""
        self._samples.clear()
        self._call.ring_buffer__consume(self._ring)
        events = [event for sample in self._samples if (event := decode(sample)) is not None]
        self.undecodable += len(self._samples) - len(events)
        return events

    def decide(self, cgroup: int, *, record: bool) -> bool:
        """Says whether the container with this cgroup id is recorded; until then its events come as well.

        False if the kernel's table has no room: nothing is lost, but the events of the container keep coming.
        """
        decision = c_uint8(_RECORD if record else _IGNORE)
        result = self._call.bpf_map_update_elem(self._cgroups, byref(c_uint64(cgroup)), byref(decision), 0)
        return bool(result == 0)

    def forget(self, cgroup: int) -> None:
        """Takes a decision back, also one that was never made: the container is gone, or it is to be asked again."""
        self._call.bpf_map_delete_elem(self._cgroups, byref(c_uint64(cgroup)))

    def lost(self) -> int:
        """Events that never reached us since the start: the ring was full, or the kernel skipped the program."""
        per_cpu = (c_uint64 * self._call.libbpf_num_possible_cpus())()
        self._call.bpf_map_lookup_elem(self._lost, byref(c_uint32(0)), per_cpu)
        ring_was_full: int = sum(per_cpu)
        return ring_was_full + sum(self._skipped(program) for program in self._programs)

    def close(self) -> None:
        """Stops the program and takes it out of the kernel; what waits in the ring is dropped."""
        for link in self._links:
            self._call.bpf_link__destroy(link)
        self._call.ring_buffer__free(self._ring)
        self._call.bpf_object__close(self._object)

    def _start(self, kubepods: Cgroup) -> None:
        config = ctypes.create_string_buffer(struct.pack("=QI4x", kubepods.id, 0), 16)  # struct config: id, level
        updated = self._call.bpf_map_update_elem(self._map("config"), byref(c_uint32(0)), config, 0)
        self._library.need(updated, "write the program's configuration")
        for program in self._programs:
            link = self._call.bpf_program__attach(program)
            self._links.append(self._library.need(link, "attach to the process tracepoints"))

    def _map(self, name: str) -> int:
        return int(self._call.bpf_map__fd(_find_map(self._library, self._object, name)))

    def _skipped(self, program: int) -> int:
        info = ctypes.create_string_buffer(_PROGRAM_INFO_SIZE)
        size = c_uint32(_PROGRAM_INFO_SIZE)
        self._call.bpf_obj_get_info_by_fd(self._call.bpf_program__fd(program), info, byref(size))
        misses: int = _RECURSION_MISSES.unpack_from(info)[0]
        return misses


def _size_maps(library: Library, loaded: int, ring_bytes: int) -> None:
    cpus = library.need(library.call.libbpf_num_possible_cpus(), "count the CPUs")
    for name, entries in (("ring", ring_bytes), ("scratch", cpus)):
        found = _find_map(library, loaded, name)
        library.need(library.call.bpf_map__set_max_entries(found, entries), f"set the size of map {name}")


def _find_map(library: Library, loaded: int, name: str) -> int:
    return library.need(library.call.bpf_object__find_map_by_name(loaded, name.encode()), f"find map {name}")


def _programs(library: Library, loaded: int) -> list[int]:
    found: list[int] = []
    while program := library.call.bpf_object__next_program(loaded, found[-1] if found else None):
        found.append(program)
    return found


def _collect_into(samples: list[bytes]) -> Callable[[int, int, int], int]:
    # The memory of a sample is the kernel's again once the callback returns: copy it.
    append, copy = samples.append, ctypes.string_at

    def collect(_context: int, data: int, size: int) -> int:
        append(copy(data, size))
        return 0 if len(samples) < BATCH else _BATCH_IS_FULL  # libbpf stops there, with this sample taken

    return collect
