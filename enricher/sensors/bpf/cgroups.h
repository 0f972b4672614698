/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Where a task is in the cgroup tree, and what user space decided about the container there. */
#pragma once

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "kernel.h"

#define DEEPEST_KUBEPODS 16

enum hierarchy { V2 = 0, V1_MEMORY = 1, V1_PIDS = 2 };

struct config {
	__u64 kubepods;    /* id of the kubepods cgroup */
	__u64 node_mnt_ns; /* the node's own mount namespace; 0 until the first sweep */
	__u32 node_pid_ns; /* inode number of the node's own pid namespace */
	__u32 hierarchy;   /* which tree kubepods is in */
	__u32 level;       /* how deep it lies; 0 until its first task was met */
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

static __always_inline bool is_recorded(__u64 container)
{
	__u8 *decision = bpf_map_lookup_elem(&cgroups, &container);

	return decision && *decision == RECORD;
}

/*
 * The decision for the container that `cgroup` belongs to, whose id goes to `container`: its own cgroup, or one above
 * it, as processes in a container may make cgroups of their own. kubepods/[burstable|besteffort/]pod/container puts
 * containers two or three levels below kubepods.
 */
static __always_inline enum decision decision_for(struct config *from, struct cgroup *cgroup, __u64 *container)
{
	__u32 level = BPF_CORE_READ(cgroup, level);

	if (!in_a_pod(from, cgroup, level))
		return NOT_IN_A_POD;
	*container = BPF_CORE_READ(cgroup, kn, id);
	__u8 *decision = bpf_map_lookup_elem(&cgroups, container);

	if (!decision && level > from->level + 3) {
		*container = ancestor_id(cgroup, from->level + 3);
		decision = bpf_map_lookup_elem(&cgroups, container);
	}
	if (!decision && level > from->level + 2) {
		*container = ancestor_id(cgroup, from->level + 2);
		decision = bpf_map_lookup_elem(&cgroups, container);
	}
	return decision ? *decision : UNDECIDED;
}
