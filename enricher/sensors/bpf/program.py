"""Loads sensor.bpf.o into the kernel and hands out its events.

Needs CAP_BPF and CAP_PERFMON, Linux 5.11 and its BTF; no privileged container, no kernel headers, no compiler.
"""

import contextlib
import ctypes
import os
import struct
from collections.abc import Callable
from ctypes import byref, c_uint8, c_uint32, c_uint64
from pathlib import Path
from typing import Self

from enricher import pid_namespace
from enricher.cgroup import MOST_ROOTS, Cgroup, Hierarchy
from enricher.events import Process, ProcessEvent
from enricher.sensors.bpf import preconditions
from enricher.sensors.bpf.decode import decode
from enricher.sensors.bpf.libbpf import Library, SampleCallback, load_library
from enricher.sensors.unavailable import SensorUnavailable

__all__ = ["OBJECT", "BpfProgram", "SensorUnavailable"]

OBJECT = Path(__file__).with_name("sensor.bpf.o")

BATCH = 512
"""Samples that one `read` takes at most: at some 10 us each, the caller's other sources wait 5 ms at most."""

_BATCH_IS_FULL = -1
_RECORD, _IGNORE = 1, 2  # enum decision in cgroups.h
_HIERARCHIES: dict[Hierarchy, int] = {"v2": 0, "memory": 1, "pids": 2}  # enum hierarchy in cgroups.h
_CONFIG = struct.Struct(f"={MOST_ROOTS}QQII{MOST_ROOTS}II4x")  # struct config in cgroups.h
_NODE_LEVEL = -1
_MARK = struct.Struct("=QQIxxxx")  # struct mark in marks.h

_TRACEPOINTS = ("on_fork", "on_exec", "on_exit")
_SYSCALLS = ("on_execve_result", "on_execveat_result")
_SWEEP = "on_sweep"

# struct bpf_prog_info, include/uapi/linux/bpf.h; older kernels leave what they do not know untouched, that is zero
_PROGRAM_INFO_SIZE = 232
_RECURSION_MISSES = struct.Struct("=208xQ")


class BpfProgram:
    """The forks, execs and exits of the node's pods. Not for use by several threads at once.

    Has to run in the node's own pid namespace: pids are as that one has them, also where it is not the machine's.

    Attributes:
        undecodable: How many samples were not understood: an object file of another version than this module.
        missing: What this node does not offer: `errno` where failed execs are not reported (no tracefs at
            `/sys/kernel/tracing`), `namespace` where the node's own init was not found, so that a process that
            enters a container's mount namespace alone is not reported.

    """

    def __init__(self, library: Library, loaded: int) -> None:
        self._library = library
        self._call = library.call
        self._object = loaded
        self._cgroups, self._marks = self._map("cgroups"), self._map("marks")
        self._samples: list[bytes] = []
        self._callback = SampleCallback(_collect_into(self._samples))  # C holds no reference: we must
        self._ring = library.need(
            self._call.ring_buffer__new(self._map("ring"), self._callback, None, None), "map the ring buffer"
        )
        self._links: list[int] = []
        self._sweeper = 0
        self._unswept = False
        self.undecodable = 0
        self.missing: tuple[str, ...] = ()

    @classmethod
    def open(cls, root: Cgroup, ring_bytes: int = 8 << 20, object_path: Path = OBJECT) -> Self:
        """Loads the program and starts it. `ring_bytes` is rounded up to a power of two of pages.

        `root` is a cgroup that pods are under; `watch` adds others.

        Raises SensorUnavailable with the reason if this node does not let it.
        """
        preconditions.check(object_path)
        library = load_library()
        loaded = library.need(library.call.bpf_object__open_file(bytes(object_path), None), f"open {object_path}")
        try:
            _size_maps(library, loaded, ring_bytes)
            library.need(library.call.bpf_object__load(loaded), "load the program into the kernel")
            sensor = cls(library, loaded)
        except SensorUnavailable as error:
            library.call.bpf_object__close(loaded)
            raise SensorUnavailable(f"{error}{preconditions.age(os.uname().release)}") from error
        try:
            sensor._start(root)
        except SensorUnavailable:
            sensor.close()
            raise
        return sensor

    def fileno(self) -> int:
        """Readable while samples wait; for selectors.

        Waking up costs more than ten events do: waiting some milliseconds between two reads saves most of it.
        """
        return int(self._call.ring_buffer__epoll_fd(self._ring))

    def events(self) -> list[ProcessEvent]:
        """What is there, in the kernel's order and without blocking; at most `BATCH` events, so call again."""
        if self._unswept:
            self._unswept = False
            self._sweep()
        self._samples.clear()
        self._call.ring_buffer__consume(self._ring)
        events = [event for sample in self._samples if (event := decode(sample)) is not None]
        self.undecodable += len(self._samples) - len(events)
        return events

    def decide(self, cgroup: int, *, record: bool) -> bool:
        """Says whether the container with this cgroup id is recorded; until then its events come as well.

        Its processes of now and those that they fork are reported wherever they go, from the next read on.
        False if the kernel's table has no room: nothing is lost, but the events of the container keep coming.
        """
        decision = c_uint8(_RECORD if record else _IGNORE)
        result = self._call.bpf_map_update_elem(self._cgroups, byref(c_uint64(cgroup)), byref(decision), 0)
        self._unswept = self._unswept or record
        return bool(result == 0)

    def forget(self, cgroup: int) -> None:
        """Takes a decision back, also one that was never made: the container is gone, or it is to be asked again."""
        self._call.bpf_map_delete_elem(self._cgroups, byref(c_uint64(cgroup)))

    def watch(self, root: Cgroup) -> bool:
        """Adds a cgroup that pods are under, of the same tree; false if there are `MOST_ROOTS` already."""
        config = self._config()
        roots = config[:MOST_ROOTS]
        if 0 not in roots:
            return False
        config[roots.index(0)] = root.id
        self._configure(config)  # the levels that the kernel may have learned meanwhile, it learns again
        return True

    def report_node(self, *, report: bool) -> None:
        """Says whether execs and ends of processes outside of all pods are reported as well: `on_node`, cgroup 0."""
        self._call.bpf_map_update_elem(self._map("node_reported"), byref(c_uint32(0)), byref(c_uint32(report)), 0)

    def mark(self, process: Process, cgroup: int) -> bool:
        """Says that a process, with all that it forks from now on, is the container's with this cgroup id.

        For one that the kernel cannot know by its cgroup or its namespaces; it counts while the container is recorded.
        False if the kernel's table has no room.
        """
        mark = ctypes.create_string_buffer(_MARK.pack(process.start, cgroup, 0), _MARK.size)
        return bool(self._call.bpf_map_update_elem(self._marks, byref(c_uint32(process.pid)), mark, 0) == 0)

    def lost(self) -> int:
        """Events that never reached us since the start: the ring was full, or the kernel skipped the program."""
        programs = (self._program(name) for name in (*_TRACEPOINTS, *_SYSCALLS))
        return sum(self.lost_per_cpu()) + sum(self._skipped(program) for program in programs)

    def lost_per_cpu(self) -> list[int]:
        """Events that found the ring full, by the CPU they happened on."""
        return self._per_cpu("lost")

    def without_pid(self) -> int:
        """Events that were not reported: their processes are the machine's, in a pod of a node that is a container."""
        return sum(self._per_cpu("without_pid"))

    def unmarked(self) -> int:
        """Processes of recorded containers whose mark found no room: they are lost from sight if they move out."""
        return sum(self._per_cpu("unmarked"))

    def close(self) -> None:
        """Stops the program and takes it out of the kernel; what waits in the ring is dropped."""
        for link in self._links:
            self._call.bpf_link__destroy(link)
        self._call.ring_buffer__free(self._ring)
        self._call.bpf_object__close(self._object)

    def _start(self, root: Cgroup) -> None:
        others, levels = [0] * (MOST_ROOTS - 1), [0] * MOST_ROOTS
        namespace = pid_namespace.own()
        self._configure([root.id, *others, 0, namespace, _HIERARCHIES[root.hierarchy], *levels, 0])
        sweeper = self._call.bpf_program__attach_iter(self._program(_SWEEP), None)
        self._sweeper = self._keep_link(sweeper, "attach to the list of processes")
        self._sweep()  # before any exec can teach it the node's own mount namespace as a container's
        if namespace != pid_namespace.INITIAL and not self._config()[_NODE_LEVEL]:
            raise SensorUnavailable(f"the kernel shows no process of this agent's pid namespace {namespace}")
        for name in _TRACEPOINTS:
            self._attach(name, "attach to the process tracepoints")
        self.missing = (*self._namespace_is_missing(), *self._errno_is_missing())

    def _configure(self, config: list[int]) -> None:
        buffer = ctypes.create_string_buffer(_CONFIG.pack(*config), _CONFIG.size)
        updated = self._call.bpf_map_update_elem(self._map("config"), byref(c_uint32(0)), buffer, 0)
        self._library.need(updated, "write the program's configuration")

    def _config(self) -> list[int]:
        buffer = ctypes.create_string_buffer(_CONFIG.size)
        self._call.bpf_map_lookup_elem(self._map("config"), byref(c_uint32(0)), buffer)
        return list(_CONFIG.unpack(buffer.raw))

    def _namespace_is_missing(self) -> tuple[str, ...]:
        node_mnt_ns = self._config()[MOST_ROOTS]
        return () if node_mnt_ns else ("namespace",)

    def _errno_is_missing(self) -> tuple[str, ...]:
        try:
            for name in _SYSCALLS:
                self._attach(name, "attach to the results of execve")
        except SensorUnavailable:  # all but the failed execs can be reported without
            return ("errno",)
        return ()

    def _sweep(self) -> None:
        """Let the kernel go over all processes (sweep.h): some 0.3 us each."""
        iterator = self._call.bpf_iter_create(self._call.bpf_link__fd(self._sweeper))
        if iterator < 0:  # out of file descriptors: the next event of each process does what this was to do
            return
        with contextlib.closing(os.fdopen(iterator, "rb", buffering=0)) as processes:
            while processes.read(4096):
                pass

    def _attach(self, name: str, action: str) -> None:
        self._keep_link(self._call.bpf_program__attach(self._program(name)), action)

    def _keep_link(self, link: int | None, action: str) -> int:
        self._links.append(self._library.need(link, action))
        return self._links[-1]

    def _map(self, name: str) -> int:
        return int(self._call.bpf_map__fd(_find_map(self._library, self._object, name)))

    def _program(self, name: str) -> int:
        found = self._call.bpf_object__find_program_by_name(self._object, name.encode())
        return self._library.need(found, f"find program {name}")

    def _per_cpu(self, name: str) -> list[int]:
        counts = (c_uint64 * self._call.libbpf_num_possible_cpus())()
        self._call.bpf_map_lookup_elem(self._map(name), byref(c_uint32(0)), counts)
        return list(counts)

    def _skipped(self, program: int) -> int:
        info = ctypes.create_string_buffer(_PROGRAM_INFO_SIZE)
        size = c_uint32(_PROGRAM_INFO_SIZE)
        self._call.bpf_obj_get_info_by_fd(self._call.bpf_program__fd(program), info, byref(size))
        misses: int = _RECURSION_MISSES.unpack_from(info)[0]
        return misses


def _size_maps(library: Library, loaded: int, ring_bytes: int) -> None:
    cpus = library.need(library.call.libbpf_num_possible_cpus(), "count the CPUs")
    for name, entries in (("ring", ring_bytes), ("scratch", cpus), ("failed_scratch", cpus)):
        found = _find_map(library, loaded, name)
        library.need(library.call.bpf_map__set_max_entries(found, entries), f"set the size of map {name}")


def _find_map(library: Library, loaded: int, name: str) -> int:
    return library.need(library.call.bpf_object__find_map_by_name(loaded, name.encode()), f"find map {name}")


def _collect_into(samples: list[bytes]) -> Callable[[int, int, int], int]:
    # The memory of a sample is the kernel's again once the callback returns: copy it.
    append, copy = samples.append, ctypes.string_at

    def collect(_context: int, data: int, size: int) -> int:
        append(copy(data, size))
        return 0 if len(samples) < BATCH else _BATCH_IS_FULL  # libbpf stops there, with this sample taken

    return collect
