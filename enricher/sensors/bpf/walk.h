/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The path of a file, by its folders' names from the file up to the task's root, across mounts. (The kernel's own
 * bpf_d_path is refused in raw tracepoints.) No lock is taken: while a folder above it is renamed, it may come out as
 * a mix of both names.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "kernel.h"
#include "sample.h"
#include "strings.h"

#define NAME_SIZE 256 /* NAME_MAX, NUL */
#define STEPS 64      /* folders and mounts on the way up */

/*
 * Writes the names, each ended by NUL, and their size, which is at most WALK_SIZE; returns `enum walked`. The size must
 * lie in a map's memory: what is read from there is unknown to the verifier, so that all steps look alike to it.
 * Otherwise it would follow every combination of lengths.
 */
static __always_inline __u8 walk(char *to, volatile __u32 *size, struct path from, struct path root)
{
	struct dentry *dentry = from.dentry;
	struct vfsmount *in = from.mnt;
	__u8 walked = 0;

	/* memfd files have no folder at all, so they count as deleted, as in /proc/PID/exe. */
	if (!BPF_CORE_READ(dentry, d_hash.pprev) && dentry != BPF_CORE_READ(in, mnt_root))
		walked = DELETED;
	*size = 0;
#pragma clang loop unroll(disable)
	for (int step = 0; step < STEPS; step++) {
		if (dentry == root.dentry && in == root.mnt)
			return walked;
		if (dentry == BPF_CORE_READ(in, mnt_root)) {
			struct mount *mount = (void *)in - bpf_core_field_offset(struct mount, mnt);
			struct mount *parent = BPF_CORE_READ(mount, mnt_parent);

			if (parent == mount)
				return walked | UNREACHABLE;
			dentry = BPF_CORE_READ(mount, mnt_mountpoint);
			in = (void *)parent + bpf_core_field_offset(struct mount, mnt);
			continue;
		}
		__u64 used = *size & (2 * WALK_SIZE - 1);

		if (used > WALK_SIZE - NAME_SIZE)
			break;
		*size = used + copy_string(to + used, NAME_SIZE, BPF_CORE_READ(dentry, d_name.name)) + 1;
		struct dentry *parent = BPF_CORE_READ(dentry, d_parent);

		if (parent == dentry)
			return walked;
		dentry = parent;
	}
	return walked | CUT;
}
