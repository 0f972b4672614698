/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The node's own processes: those outside of all pods. They are reported only while a pod to debug the node is open: a
 * user in one can have the node's daemons run programs (systemd-run, a runtime's socket).
 */
#pragma once

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "cgroups.h"
#include "kernel.h"

#define DEEPEST_PID_NAMESPACE 8

/* 1 while they are reported; user space sets it. An array: its look-up costs every process of the node next to nothing. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} node_reported SEC(".maps");

static __always_inline bool node_is_reported(void)
{
	__u32 zero = 0;
	__u32 *reported = bpf_map_lookup_elem(&node_reported, &zero);

	return reported && *reported;
}

/*
 * Whether the node can see the task, in its pid namespace or one below. Where the node is itself a container (kind),
 * the machine's other processes are not its own.
 */
static __always_inline bool is_on_node(struct config *from, struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	__u32 level = BPF_CORE_READ(pid, level);
	struct upid *number = (void *)pid + bpf_core_field_offset(struct pid, numbers);

	for (__u32 above = 0; above < DEEPEST_PID_NAMESPACE && above <= level; above++) {
		struct upid *here = (void *)number + above * bpf_core_type_size(struct upid);
		struct pid_namespace *namespace = BPF_CORE_READ(here, ns);

		if (BPF_CORE_READ(namespace, ns.inum) == from->node_pid_ns)
			return true;
	}
	return false;
}
