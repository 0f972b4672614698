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

/* Every task in the node's pid namespace shows how deep that lies, and leads to its init, whose mounts are the node's. */
static __always_inline void learn_node(struct config *to, struct task_struct *task)
{
	struct pid_namespace *namespace = BPF_CORE_READ(innermost(task), ns);
	struct task_struct *init = BPF_CORE_READ(namespace, child_reaper);

	if (BPF_CORE_READ(namespace, ns.inum) != to->node_pid_ns)
		return;
	to->node_level = BPF_CORE_READ(task, thread_pid, level);
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
	if (!mark_of(from, task))
		keep(from, &ref, task);
	learn_mount_namespace(from, task, ref.own);
	return 0;
}
