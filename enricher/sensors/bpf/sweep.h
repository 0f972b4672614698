/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Processes that were in a container before user space decided to record it: an iterator over all processes gives them
 * their marks, and learns their mount namespaces. User space runs it by reading from it; nothing is to be read.
 */
#pragma once

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "filter.h"
#include "kernel.h"

/* The node's own mount namespace is that of its init, to which every task in its pid namespace leads. */
static __always_inline void learn_node(struct config *to, struct task_struct *task)
{
	struct pid_namespace *namespace = BPF_CORE_READ(innermost(task), ns);
	struct task_struct *init = BPF_CORE_READ(namespace, child_reaper);

	if (BPF_CORE_READ(namespace, ns.inum) == to->node_pid_ns)
		to->node_mnt_ns = mount_namespace(init);
}

SEC("iter/task")
int on_sweep(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct config *from = get_config();
	struct cgroup_ref ref;

	if (!task || !from || BPF_CORE_READ(task, pid) != BPF_CORE_READ(task, tgid))
		return 0;
	if (!from->node_mnt_ns)
		learn_node(from, task);
	passes_by_cgroup(from, &ref, task);
	if (!ref.own)
		return 0;
	if (!mark_of(task))
		keep(&ref, task);
	learn_mount_namespace(from, task, ref.own);
	return 0;
}
