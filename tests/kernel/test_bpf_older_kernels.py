"""The program against kernels whose structures look otherwise, as far as relocation and the verifier can tell."""

import ctypes
import struct
import subprocess
from pathlib import Path

import pytest

from enricher.sensors.bpf.libbpf import load_library

# Linux 5.11 had `ancestor_ids` where 6.1 put `ancestors`, and numbered mount namespaces itself; here without
# CONFIG_SECCOMP, without the memory controller, and all offsets are moved.
LINUX_5_11 = """
typedef unsigned long u64;
typedef struct { unsigned int val; } kuid_t;
typedef struct { unsigned int val; } kgid_t;
typedef struct { int counter; } atomic_t;
struct kernfs_node { u64 other; const char *name; u64 others[5]; u64 id; } a;
struct cgroup { u64 other[20]; int level; struct kernfs_node *kn; u64 others[30]; u64 ancestor_ids[]; } b;
struct cgroup_subsys_state { u64 other; struct cgroup *cgroup; } c;
enum cgroup_subsys_id { cpuset_cgrp_id, CONTROLLERS pids_cgrp_id } d;
struct css_set { u64 other[9]; struct cgroup_subsys_state *subsys[12]; struct cgroup *dfl_cgrp; } e;
struct ns_common { u64 other; unsigned int inum; };
struct mnt_namespace { int other; struct ns_common ns; u64 seq; } f;
struct nsproxy { u64 other; struct mnt_namespace *mnt_ns; } g;
struct pid_namespace { u64 other; struct task_struct *child_reaper; struct ns_common ns; } h;
struct upid { int nr; struct pid_namespace *ns; };
struct pid { unsigned int level; u64 other[6]; struct upid numbers[1]; } i;
struct qstr { u64 other; const unsigned char *name; };
struct hlist_bl_node { struct hlist_bl_node *next, **pprev; };
struct dentry { int other; struct hlist_bl_node d_hash; struct dentry *d_parent; struct qstr d_name; } j;
struct vfsmount { int other; struct dentry *mnt_root; };
struct mount { u64 other[2]; struct mount *mnt_parent; struct dentry *mnt_mountpoint; struct vfsmount mnt; } k;
struct path { struct vfsmount *mnt; struct dentry *dentry; };
struct file { u64 other[2]; struct path f_path; } l;
struct fs_struct { u64 other[3]; struct path root, pwd; } m;
struct cred { int other; kuid_t uid; kgid_t gid; } n;
struct signal_struct { int other; atomic_t live; int group_exit_code; unsigned int flags; } o;
struct mm_struct { struct { u64 other[30]; unsigned long arg_start, arg_end; struct file *exe_file; }; } p;
struct linux_binprm { u64 other[4]; const char *filename; } q;
struct pt_regs { REGISTERS } r;
struct trace_event_raw_sys_exit { u64 other; long id, ret; } s;
struct bpf_iter__task { u64 other; struct task_struct *task; } t;
HELPERS
struct task_struct {
  u64 other[50]; int exit_code, pid, tgid; struct task_struct *real_parent, *group_leader; struct pid *thread_pid;
  u64 start_boottime; const struct cred *cred; struct signal_struct *signal; struct css_set *cgroups;
  struct nsproxy *nsproxy; struct fs_struct *fs; struct mm_struct *mm; SECCOMP
} u;
"""

SECCOMP = {"SECCOMP": "struct seccomp { int mode; } seccomp;"}
MEMORY = {"CONTROLLERS": "cpu_cgrp_id, memory_cgrp_id,"}
X86_64 = {"REGISTERS": "u64 bx, dx, di, si;"}
ARM64 = {"REGISTERS": "struct { u64 regs[31], sp; }; u64 orig_x0;"}
LINUX_5_15 = {"HELPERS": "enum bpf_func_id { BPF_FUNC_task_pt_regs = 175 } v;"}


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param({}, id="nothing optional"),
        pytest.param(SECCOMP | MEMORY, id="seccomp and memory controller"),
        pytest.param(X86_64 | LINUX_5_15, id="5.15 on x86_64"),
        pytest.param(ARM64 | LINUX_5_15, id="5.15 on arm64"),
    ],
)
def test_the_program_fits_linux_5_11_and_later(bpf_object: Path, tmp_path: Path, parts: dict[str, str]) -> None:
    text = LINUX_5_11
    for part in ("SECCOMP", "CONTROLLERS", "REGISTERS", "HELPERS"):
        text = text.replace(part, parts.get(part, ""))
    source = text.encode()
    kernel = tmp_path / "kernel.o"
    subprocess.run(["clang", "-g", "-target", "bpf", "-xc", "-c", "-", "-o", kernel], input=source, check=True)
    path = ctypes.create_string_buffer(bytes(kernel))
    # struct bpf_object_open_opts: its own size, five fields that we leave alone, btf_custom_path
    options = struct.pack("=Q40xQ", 56, ctypes.addressof(path))
    call = load_library().call
    program = call.bpf_object__open_file(bytes(bpf_object), options)
    loaded = call.bpf_object__load(program)
    call.bpf_object__close(program)

    assert loaded == 0
