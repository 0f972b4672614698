/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Where a task is in the cgroup tree, and what user space decided about the container there. */
#pragma once

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "kernel.h"

#define DEEPEST_ROOT 16
#define MOST_ROOTS 4

enum hierarchy { V2 = 0, V1_MEMORY = 1, V1_PIDS = 2 };

struct config {
	__u64 roots[MOST_ROOTS];  /* ids of the cgroups that pods are under; from the first 0 on there are none */
	__u64 node_mnt_ns;        /* the node's own mount namespace; 0 until the first sweep */
	__u32 node_pid_ns;        /* inode number of the node's own pid namespace */
	__u32 hierarchy;          /* which tree the roots are in */
	__u32 levels[MOST_ROOTS]; /* how deep each root lies; 0 until its first task was met */
	__u32 node_level;         /* how deep that namespace lies; 0 for the machine's own, and until the first sweep */
	__u32 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct config);
} config SEC(".maps");

enum decision { UNDECIDED = 0, RECORD = 1, IGNORE = 2, NOT_IN_A_POD = 3 };

/* Cgroup id of a container -> RECORD or IGNORE; a container that is not in it is undecided. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, __u8);
} cgroups SEC(".maps");

static __always_inline struct config *get_config(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&config, &zero);
}

static __always_inline struct cgroup *v1_cgroup(struct css_set *set, __u32 controller)
{
	struct cgroup_subsys_state *state = NULL;
	__u64 offset = bpf_core_field_offset(struct css_set, subsys) + controller * sizeof(state);

	bpf_probe_read_kernel(&state, sizeof(state), (void *)set + offset);
	return BPF_CORE_READ(state, cgroup);
}

/*
 * It is asked of the task and not of bpf_get_current_cgroup_id: at fork the child may be born into another cgroup
 * than its parent's (CLONE_INTO_CGROUP).
 */
static __always_inline struct cgroup *cgroup_of(struct config *from, struct task_struct *task)
{
	struct css_set *set = BPF_CORE_READ(task, cgroups);

	if (from->hierarchy == V1_MEMORY && bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id))
		return v1_cgroup(set, bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id));
	if (from->hierarchy == V1_PIDS && bpf_core_enum_value_exists(enum cgroup_subsys_id, pids_cgrp_id))
		return v1_cgroup(set, bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id));
	return BPF_CORE_READ(set, dfl_cgrp);
}

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
 * Finds how deep a root lies; 0 where the cgroup is not below it. User space cannot know: in a cgroup namespace (a node
 * that is itself a container, as in kind) it sees the tree only from its own root on.
 */
static __always_inline __u32 level_of(__u64 root, struct cgroup *cgroup, __u32 level)
{
	for (__u32 above = 1; above <= DEEPEST_ROOT; above++) {
		if (above >= level)
			return 0;
		if (ancestor_id(cgroup, above) == root)
			return above;
	}
	return 0;
}

/* How deep the root lies that the cgroup is below; 0 outside of all. CPUs may race; all write the same number. */
static __always_inline __u32 root_level(struct config *from, struct cgroup *cgroup, __u32 level)
{
	for (__u32 index = 0; index < MOST_ROOTS; index++) {
		__u64 root = from->roots[index];
		__u32 above = from->levels[index];

		if (!root)
			return 0;
		if (!above) {
			above = level_of(root, cgroup, level);
			if (above) {
				from->levels[index] = above;
				return above;
			}
		} else if (level > above && ancestor_id(cgroup, above) == root) {
			return above;
		}
	}
	return 0;
}

static __always_inline bool is_recorded(__u64 container)
{
	__u8 *decision = bpf_map_lookup_elem(&cgroups, &container);

	return decision && *decision == RECORD;
}

/*
 * The decision for the container that `cgroup` belongs to, whose id goes to `container`: its own cgroup, or one above
 * it, as processes in a container may make cgroups of their own. kubepods/[burstable|besteffort/]pod/container puts
 * containers two or three levels below their root; a runtime that names a cgroup for both pod and container, one.
 */
static __always_inline enum decision decision_for(struct config *from, struct cgroup *cgroup, __u64 *container)
{
	__u32 level = BPF_CORE_READ(cgroup, level);

	__u32 root = root_level(from, cgroup, level);

	if (!root)
		return NOT_IN_A_POD;
	*container = BPF_CORE_READ(cgroup, kn, id);
	__u8 *decision = bpf_map_lookup_elem(&cgroups, container);

	for (__u32 below = 3; below > 1; below--) {
		if (!decision && level > root + below) {
			*container = ancestor_id(cgroup, root + below);
			decision = bpf_map_lookup_elem(&cgroups, container);
		}
	}
	if (decision)
		return *decision;
	/* One that is ignored there may be a class of pods, such as kubepods/burstable, and says nothing of them. */
	if (level > root + 1) {
		*container = ancestor_id(cgroup, root + 1);
		if (is_recorded(*container))
			return RECORD;
	}
	return UNDECIDED;
}
