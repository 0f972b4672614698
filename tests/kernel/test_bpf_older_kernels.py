"""The program against kernels whose structures look otherwise, as far as relocation and the verifier can tell."""

import ctypes
import struct
import subprocess
from pathlib import Path

import pytest

from enricher.bpf.libbpf import load_library

# Linux 5.11 had `ancestor_ids` where 6.1 put `ancestors`; here without CONFIG_SECCOMP, and all offsets are moved.
LINUX_5_11 = """
typedef unsigned long u64;
struct kernfs_node { u64 other; const char *name; u64 others[5]; u64 id; } a;
struct cgroup { u64 other[20]; int level; struct kernfs_node *kn; u64 others[30]; u64 ancestor_ids[]; } b;
struct css_set { u64 other[9]; struct cgroup *dfl_cgrp; } c;
typedef struct { unsigned int val; } kuid_t;
typedef struct { unsigned int val; } kgid_t;
struct cred { int other; kuid_t uid; kgid_t gid; } d;
typedef struct { int counter; } atomic_t;
struct signal_struct { int other; atomic_t live; int group_exit_code; unsigned int flags; } e;
struct upid { int nr; void *ns; };
struct pid { unsigned int level; u64 other[6]; struct upid numbers[1]; } f;
struct mm_struct { struct { u64 other[30]; unsigned long arg_start, arg_end; }; } g;
struct linux_binprm { u64 other[4]; const char *filename; } h;
struct task_struct {
  u64 other[50]; int exit_code, pid, tgid; struct task_struct *real_parent, *group_leader; struct pid *thread_pid;
  u64 start_boottime; const struct cred *cred; struct signal_struct *signal; struct css_set *cgroups;
  struct mm_struct *mm; SECCOMP
} i;
"""


@pytest.mark.parametrize(
    "seccomp",
    [pytest.param("", id="without seccomp"), pytest.param("struct seccomp { int mode; } seccomp;", id="with seccomp")],
)
def test_the_program_fits_linux_5_11(bpf_object: Path, tmp_path: Path, seccomp: str) -> None:
    kernel = tmp_path / "kernel.o"
    source = LINUX_5_11.replace("SECCOMP", seccomp).encode()
    subprocess.run(["clang", "-g", "-target", "bpf", "-xc", "-c", "-", "-o", kernel], input=source, check=True)
    path = ctypes.create_string_buffer(bytes(kernel))
    # struct bpf_object_open_opts: its own size, five fields that we leave alone, btf_custom_path
    options = struct.pack("=Q40xQ", 56, ctypes.addressof(path))
    call = load_library().call
    program = call.bpf_object__open_file(bytes(bpf_object), options)
    loaded = call.bpf_object__load(program)
    call.bpf_object__close(program)

    assert loaded == 0
