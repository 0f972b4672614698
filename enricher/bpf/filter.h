/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which tasks pass: those in a pod, but for containers that user space does not want to hear of. */
#pragma once

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "kernel.h"

#define DEEPEST_KUBEPODS 16

struct config {
	__u64 kubepods; /* id of the kubepods cgroup */
	__u32 level;    /* how deep it lies; 0 until its first task was met */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct config);
} config SEC(".maps");

enum decision { RECORD = 1, IGNORE = 2 };

/* Cgroup id of a container -> what user space decided; a container that is not in it is undecided and passes. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, __u8);
} cgroups SEC(".maps");

/* The id of the cgroup that lies `level` steps below the root on the way down to `cgroup`. */
static __always_inline __u64 ancestor_id(struct cgroup *cgroup, __u32 level)
{
	if (bpf_core_field_exists(cgroup->ancestors)) {
		__u64 offset = bpf_core_field_offset(struct cgroup, ancestors) + level * sizeof(struct cgroup *);
		struct cgroup *ancestor = NULL;

		bpf_probe_read_kernel(&ancestor, sizeof(ancestor), (void *)cgroup + offset);
		return BPF_CORE_READ(ancestor, kn, id);
	}
	__u64 offset = bpf_core_field_offset(struct cgroup___before_6_1, ancestor_ids) + level * sizeof(__u64);
	__u64 id = 0;

	bpf_probe_read_kernel(&id, sizeof(id), (void *)cgroup + offset);
	return id;
}

/*
 * Finds how deep the kubepods cgroup lies. User space cannot know: in a cgroup namespace (a node that is itself a
 * container, as in kind) it sees the tree only from its own root on. CPUs may race here; all write the same number.
 */
static __always_inline bool learn_level(struct config *to, struct cgroup *cgroup, __u32 level)
{
	for (__u32 above = 1; above <= DEEPEST_KUBEPODS; above++) {
		if (above >= level)
			return false;
		if (ancestor_id(cgroup, above) == to->kubepods) {
			to->level = above;
			return true;
		}
	}
	return false;
}

static __always_inline bool in_a_pod(struct config *from, struct cgroup *cgroup, __u32 level)
{
	if (!from->level)
		return learn_level(from, cgroup, level);
	return level > from->level && ancestor_id(cgroup, from->level) == from->kubepods;
}

/*
 * The decision for the container that `cgroup` belongs to: its own cgroup, or one above it, as processes in a
 * container may make cgroups of their own. kubepods/[burstable|besteffort/]pod/container puts containers two or
 * three levels below kubepods.
 */
static __always_inline bool ignored(struct cgroup *cgroup, __u32 level, __u32 kubepods)
{
	__u64 id = BPF_CORE_READ(cgroup, kn, id);
	__u8 *decision = bpf_map_lookup_elem(&cgroups, &id);

	if (!decision && level > kubepods + 3) {
		id = ancestor_id(cgroup, kubepods + 3);
		decision = bpf_map_lookup_elem(&cgroups, &id);
	}
	if (!decision && level > kubepods + 2) {
		id = ancestor_id(cgroup, kubepods + 2);
		decision = bpf_map_lookup_elem(&cgroups, &id);
	}
	return decision && *decision == IGNORE;
}

/*
 * The cgroup of a task that passes, else NULL. It is asked of the task and not of bpf_get_current_cgroup_id:
 * at fork the child may be born into another cgroup than its parent's (CLONE_INTO_CGROUP).
 */
static __always_inline struct cgroup *watched_cgroup(struct task_struct *task)
{
	struct cgroup *cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp);
	__u32 level = BPF_CORE_READ(cgroup, level);
	__u32 zero = 0;
	struct config *from = bpf_map_lookup_elem(&config, &zero);

	if (!from || !in_a_pod(from, cgroup, level) || ignored(cgroup, level, from->level))
		return NULL;
	return cgroup;
}
