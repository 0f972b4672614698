/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Process ids as /proc on the node shows them: those of the node's own pid namespace. Where the node is itself a
 * container (kind, k3d), that is one below the machine's, and a process has another id in each.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>

#include "cgroups.h"
#include "kernel.h"

/* The id in the pid namespace of this level, together with that namespace; the pid's own level is the last. */
static __always_inline struct upid *number_at(struct pid *pid, __u32 level)
{
	return (void *)pid + bpf_core_field_offset(struct pid, numbers) + level * bpf_core_type_size(struct upid);
}

/* The task's number in its pid namespace, the innermost of those that it has a number in. */
static __always_inline struct upid *innermost(struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, thread_pid);

	return number_at(pid, BPF_CORE_READ(pid, level));
}

/*
 * The id of the task's process; 0 if the node cannot see it: it is the machine's, or another node's. There is a helper
 * (bpf_get_ns_current_pid_tgid), but for the current task only, which neither a child at its birth nor a parent is.
 */
static __always_inline __u32 pid_of(struct config *from, struct task_struct *task)
{
	__u32 level = from->node_level;

	if (!level) /* the machine's own namespace sees all processes */
		return BPF_CORE_READ(task, tgid);
	struct pid *pid = BPF_CORE_READ(task, group_leader, thread_pid);

	if (BPF_CORE_READ(pid, level) < level)
		return 0;
	struct upid *here = number_at(pid, level);

	return BPF_CORE_READ(here, ns, ns.inum) == from->node_pid_ns ? BPF_CORE_READ(here, nr) : 0;
}
