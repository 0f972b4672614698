/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which container's namespaces a task is in: `nsenter` enters those and leaves the cgroup what it was.
 *
 * The init of a pid namespace shows its container: its cgroup is the container's. From a mount namespace nothing leads to its
 * container, so those of recorded containers are learned. The node's own namespaces never count: with them, one pod
 * with hostPID would make every process of the node its own.
 */
#pragma once

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "cgroups.h"
#include "kernel.h"
#include "pids.h"

/* Mount namespace -> cgroup id of its container. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, __u64);
} mount_namespaces SEC(".maps");

/* A number that no other mount namespace ever has: inode numbers, which user space sees, are used again. */
static __always_inline __u64 mount_namespace(struct task_struct *task)
{
	struct mnt_namespace *namespace = BPF_CORE_READ(task, nsproxy, mnt_ns);
	struct mnt_namespace___before_6_18 *before = (void *)namespace;
	struct mnt_namespace___since_6_18 *since = (void *)namespace;

	if (bpf_core_field_exists(before->seq))
		return BPF_CORE_READ(before, seq);
	if (bpf_core_field_exists(since->ns.ns_id))
		return BPF_CORE_READ(since, ns.ns_id);
	return BPF_CORE_READ(namespace, ns.inum);
}

/* The init of the task's pid namespace; NULL if that is the node's. */
static __always_inline struct task_struct *own_init(struct config *from, struct task_struct *task)
{
	struct pid_namespace *namespace = BPF_CORE_READ(innermost(task), ns);

	if (BPF_CORE_READ(namespace, ns.inum) == from->node_pid_ns)
		return NULL;
	return BPF_CORE_READ(namespace, child_reaper);
}

/* The recorded container that the task is in by its namespaces; 0 if there is none. */
static __always_inline __u64 container_by_namespace(struct config *from, struct task_struct *task)
{
	__u64 namespace = mount_namespace(task);

	if (namespace != from->node_mnt_ns) { /* where most processes are: it spares them the look-up */
		__u64 *learned = bpf_map_lookup_elem(&mount_namespaces, &namespace);

		if (learned && is_recorded(*learned))
			return *learned;
	}
	struct task_struct *init = own_init(from, task);
	__u64 container = 0;

	if (init && decision_for(from, cgroup_of(from, init), &container) == RECORD)
		return container;
	return 0;
}

static __always_inline bool is_of(struct config *from, struct task_struct *task, __u64 container)
{
	__u64 id = 0;

	return decision_for(from, cgroup_of(from, task), &id) == RECORD && id == container;
}

/*
 * Whether a task in a container is in that container's own mount namespace, and not in one that it went into: either
 * its pid namespace's init is in the same one, or it comes straight from the runtime and has left that one's. Without
 * this a privileged container that enters another's would have that recorded under its own name, and a runtime that
 * joins the cgroup first all that is in the runtime's.
 */
static __always_inline bool is_at_home(struct config *from, struct task_struct *task, __u64 namespace, __u64 container)
{
	struct task_struct *init = own_init(from, task);

	if (init && is_of(from, init, container))
		return mount_namespace(init) == namespace;
	struct task_struct *parent = BPF_CORE_READ(task, real_parent);

	return !is_of(from, parent, container) && mount_namespace(parent) != namespace;
}

static __always_inline void learn_mount_namespace(struct config *from, struct task_struct *task, __u64 container)
{
	__u64 namespace = mount_namespace(task);
	__u64 *learned = bpf_map_lookup_elem(&mount_namespaces, &namespace);

	if (learned && is_recorded(*learned))
		return;
	if (!from->node_mnt_ns || namespace == from->node_mnt_ns || !is_at_home(from, task, namespace, container))
		return;
	bpf_map_update_elem(&mount_namespaces, &namespace, &container, BPF_ANY);
}
